//! Laravel on its real stack: nginx, PHP-FPM with OPcache, MariaDB and Redis as programs of this machine, and an application
//! that does what Laravel does where a deployment meets it (`fixtures/laravel`).

mod deploying;
mod failing;
mod load;
mod maintenance;
pub mod stack;
mod traffic;
