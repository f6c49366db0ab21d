//! The ports of this host that a project wants. One that somebody else holds is named before anything is stopped for it: an
//! engine says so when the old container is gone already. A hook may still free it, so that it is a warning.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::container::Container;
use super::engine::Engine;
use crate::host::wire::HostError;

/// Where the kernel lists sockets of this network.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
/// A socket that listens, as those tables say it.
const LISTENS: &str = "0A";

/// One port of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// `None`: of every address.
    pub ip: Option<IpAddr>,
    pub port: u16,
    pub protocol: String,
}

impl Wanted {
    /// Whether whoever has the same port of `ip` is in its way.
    fn meets(&self, ip: Option<IpAddr>) -> bool {
        let every = |ip: Option<IpAddr>| ip.filter(|ip| !ip.is_unspecified());
        match (every(self.ip), every(ip)) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
    }
}

/// A published port, as the program prints it: `127.0.0.1:8080:80/tcp`, or in its long form. Ranges are left to the engine.
pub fn wanted(port: &Value) -> Option<Wanted> {
    let (ip, published, protocol) = match port {
        Value::String(text) => {
            let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            let (rest, _) = text.rsplit_once(':')?;
            let (ip, published) = rest.rsplit_once(':').map_or((None, rest), |(ip, published)| (Some(ip), published));
            (ip.map(|ip| ip.trim_matches(['[', ']']).to_owned()), published.to_owned(), protocol.to_owned())
        }
        Value::Object(long) => {
            let text = |key: &str| long.get(key).and_then(Value::as_str).map(str::to_owned);
            let number = long.get("published").and_then(Value::as_u64).map(|number| number.to_string());
            (text("host_ip"), text("published").or(number)?, text("protocol").unwrap_or_else(|| "tcp".to_owned()))
        }
        _ => return None,
    };
    let ip = match ip.filter(|ip| !ip.is_empty()) {
        Some(ip) => Some(ip.parse().ok()?),
        None => None,
    };
    Some(Wanted { ip, port: published.parse().ok()?, protocol })
}

/// Which of these somebody else holds, in words: which port, for which service, and who that is. What containers of the project
/// itself hold they give up.
pub fn taken(engine: &Engine, project: &str, wanted: &[(String, Wanted)]) -> Result<Vec<String>, HostError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let all = engine.containers(None)?;
    let (ours, others): (Vec<&Container>, Vec<&Container>) =
        all.iter().partition(|one| one.label("com.docker.compose.project") == Some(project));
    let holds = |container: &Container, wanted: &Wanted| {
        let same = |port: &&super::container::Port| port.public_port == wanted.port && port.protocol == wanted.protocol;
        container.ports.iter().filter(same).any(|port| wanted.meets(port.ip.parse().ok()))
    };
    let listeners =
        TABLES.iter().flat_map(|table| listeners(&fs::read_to_string(table).unwrap_or_default())).collect::<Vec<_>>();
    let mut taken = BTreeMap::new();
    for (service, port) in wanted {
        let held = |of: &[&Container]| of.iter().find(|one| holds(one, port)).map(|one| one.name().to_owned());
        let by = match held(&others) {
            Some(name) => format!("the container {name}"),
            // A program that forwards for one of ours listens there, too.
            None if held(&ours).is_some() || port.protocol != "tcp" => continue,
            None if listeners.iter().any(|(ip, number)| *number == port.port && port.meets(Some(*ip))) => {
                format!("a program of this host (`ss -ltnp 'sport = :{}'` says which one)", port.port)
            }
            None => continue,
        };
        taken.insert(
            (port.port, port.protocol.as_str()),
            format!(
                "the service {service} wants port {}/{} of this host, which {by} holds: stop that one, or name another port in `ports`",
                port.port, port.protocol
            ),
        );
    }
    Ok(taken.into_values().collect())
}

/// The addresses and ports that a table of the kernel has listening sockets for.
fn listeners(table: &str) -> Vec<(IpAddr, u16)> {
    let one = |line: &str| {
        let mut words = line.split_whitespace();
        let (local, state) = (words.nth(1)?, words.nth(1)?);
        let (ip, port) = local.split_once(':')?;
        (state == LISTENS).then_some((address(ip)?, u16::from_str_radix(port, 16).ok()?))
    };
    table.lines().filter_map(one).collect()
}

/// The kernel prints an address as words of 32 bits, each in the order of this machine.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        hex.get(at * 8..at * 8 + 8).and_then(|word| u32::from_str_radix(word, 16).ok()).map(u32::to_ne_bytes)
    };
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let bytes: Vec<u8> = (0..4).map(word).collect::<Option<Vec<_>>>()?.concat();
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            Some(ip.to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_of_a_port_are_read_and_ranges_are_left() {
        let port = |ip: Option<&str>, port: u16, protocol: &str| {
            Some(Wanted { ip: ip.map(|ip| ip.parse().unwrap()), port, protocol: protocol.to_owned() })
        };
        for (printed, read) in [
            (json!("8080:80/tcp"), port(None, 8080, "tcp")),
            (json!("127.0.0.1:53:53/udp"), port(Some("127.0.0.1"), 53, "udp")),
            (json!("[::1]:8080:80"), port(Some("::1"), 8080, "tcp")),
            (json!({"mode": "ingress", "target": 80, "published": "8080", "protocol": "tcp"}), port(None, 8080, "tcp")),
            (json!({"target": 80, "published": 8080, "host_ip": "10.0.0.1"}), port(Some("10.0.0.1"), 8080, "tcp")),
            (json!("8000-8010:80"), None),
            (json!("80"), None),
            (json!({"target": 80}), None),
        ] {
            assert_eq!(wanted(&printed), read, "{printed}");
        }
    }

    #[test]
    fn a_port_is_in_the_way_on_the_same_address_or_on_every_one() {
        let wanted =
            |ip: Option<&str>| Wanted { ip: ip.map(|ip| ip.parse().unwrap()), port: 80, protocol: "tcp".to_owned() };
        let ip = |text: &str| Some(text.parse().unwrap());
        assert!(wanted(None).meets(ip("10.0.0.1")) && wanted(Some("10.0.0.1")).meets(ip("0.0.0.0")));
        assert!(wanted(Some("10.0.0.1")).meets(ip("10.0.0.1")) && !wanted(Some("10.0.0.1")).meets(ip("127.0.0.1")));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_tables_of_the_kernel_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n   \
                     1: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0\n   \
                     2: 0100007F:0016 0100007F:9999 01 0:0\n";
        let read: Vec<(IpAddr, u16)> = vec![("127.0.0.1".parse().unwrap(), 8080), ("::".parse().unwrap(), 80)];
        assert_eq!(listeners(table), read);
    }
}
