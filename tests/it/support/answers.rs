//! The smallest web server: every path answers 200.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

pub struct Web(SocketAddr);

impl Web {
    pub fn start() -> Web {
        Web::answering(|_| "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".to_owned())
    }

    /// The same in another network namespace, given by its file.
    pub fn start_in(namespace: std::path::PathBuf) -> Web {
        // A socket stays where its thread was when it was made.
        let thread = std::thread::spawn(move || {
            let there = std::fs::File::open(namespace).unwrap();
            let kind = rustix::thread::LinkNameSpaceType::Network;
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&there), Some(kind)).unwrap();
            Web::start()
        });
        thread.join().unwrap()
    }

    /// Answers the head of a request with a whole answer.
    pub fn answering(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = std::sync::Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = answer.clone();
                std::thread::spawn(move || {
                    let mut stream = stream;
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                        head.push(byte[0]);
                    }
                    // A client that is gone hears nothing.
                    let _ = stream.write_all(answer(&String::from_utf8_lossy(&head)).as_bytes());
                });
            }
        });
        Web(address)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0)
    }
}
