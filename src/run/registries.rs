//! Who logs in to the registries of images: a secret with the use `registry`, for the environment that names it and for that
//! registry alone. It leaves this machine only on its way to a host of that environment, with the request to pull.

use crate::host::wire::Secret;
use crate::host::wire::compose::Login;
use crate::model::desired::Environment;
use crate::run::secrets::{Purpose, Store, registry_url};

/// The login of an environment to a registry, by its host; `None`: it names none.
///
/// # Errors
/// A secret that there is not, or not for this: its name, why, and the next move.
pub fn login(store: &Store, env: &Environment, registry: &str) -> Result<Option<Login>, String> {
    let Some(named) = env.delivery.compose().and_then(|files| files.registries.get(registry)) else { return Ok(None) };
    match store.get(&named.password, &Purpose::registry(&env.name, &registry_url(registry))) {
        Ok(password) => Ok(Some(Login { user: named.user.clone(), password })),
        Err(refused) => {
            let name = &named.password;
            Err(format!("images of {registry} are pulled with the secret {name}, {}: {}", refused.why, refused.fix))
        }
    }
}

/// Those that may be had, to be taken out of what hosts write.
pub fn passwords(store: &Store, env: &Environment) -> Vec<Secret> {
    let hosts = env.delivery.compose().into_iter().flat_map(|files| files.registries.keys());
    hosts.filter_map(|host| Some(login(store, env, host).ok()??.password)).collect()
}
