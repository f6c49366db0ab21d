//! Which epochs can be true. An epoch counts the runs that held a root, so those of an environment's hosts lie close
//! together, and far from the end of the numbers. A host that says otherwise is damaged or lies, and the others must not
//! follow it there (law 13): at the end of the numbers no run could ever hold a root again.

use super::ids::{EnvName, Epoch, HostName};
use super::observed::{HostObserved, Observed};

/// Epochs of the hosts of one environment are never so far apart: a run in every second would take 136 years for it.
pub const APART: u64 = 1 << 32;
/// From here on there is no next one: a root that is so far is counted anew by a person's word, while something is left.
pub const LAST: Epoch = Epoch(u64::MAX - APART);

/// There is no next epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the epoch {epoch} of {host} is at the end of what can be counted, which no number of runs explains: its \
     .soll/record.json is damaged or was changed. Look at that host; then `soll acknowledge --host {host}` sets it back"
)]
pub struct Exhausted {
    pub host: HostName,
    pub epoch: u64,
}

/// The hosts whose epoch lies far above those of the others, and the highest of these others; `None`: there is none.
/// However many say the same: it is the lowest that cannot be a lie.
pub fn implausible<'a>(
    all: impl IntoIterator<Item = (&'a HostName, Epoch)>,
) -> Option<(Epoch, Vec<(&'a HostName, Epoch)>)> {
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by_key(|(_, epoch)| *epoch);
    let gap = all.windows(2).position(|pair| pair[1].1.0 - pair[0].1.0 > APART)?;
    let highest = all[gap].1;
    Some((highest, all.split_off(gap + 1)))
}

/// Why a host with such an epoch is taken for one whose state nobody knows.
pub fn disbelieved(host: &HostName, epoch: Epoch, highest: Epoch) -> String {
    format!(
        "its epoch {} lies far above those of the environment's other hosts (at most {}), which no number of runs \
         explains: its .soll/record.json is damaged or was changed, so nothing that it says is believed. Look at that \
         host; then `soll acknowledge --host {host}` sets it back",
        epoch.0, highest.0
    )
}

impl Epoch {
    /// The next one; `None`: this one is at the end.
    pub fn next(self) -> Option<Epoch> {
        (self < LAST).then(|| Epoch(self.0 + 1))
    }
}

impl Observed {
    /// The highest epoch of an environment's hosts plus one (contract 1.4).
    ///
    /// # Errors
    /// There is none, and which host is the cause.
    pub fn next_epoch(&self, name: &EnvName) -> Result<Epoch, Exhausted> {
        let hosts = self.environments.get(name).map(|seen| seen.hosts.iter()).into_iter().flatten();
        let epochs = hosts.filter_map(|(name, host)| match host {
            HostObserved::Reached(state) => Some((name, state.record.epoch)),
            HostObserved::Unreachable(_) => None,
        });
        match epochs.max_by_key(|(_, epoch)| *epoch) {
            None => Ok(Epoch(1)),
            Some((host, epoch)) => epoch.next().ok_or_else(|| Exhausted { host: host.clone(), epoch: epoch.0 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_far_above_the_others_is_not_believed() {
        let names: Vec<HostName> = ["a", "b", "c", "d"].map(|name| name.parse().unwrap()).to_vec();
        let judge = |epochs: &[u64]| {
            let all = names.iter().zip(epochs.iter().map(|epoch| Epoch(*epoch)));
            implausible(all).map(|(highest, hosts)| (highest.0, hosts.iter().map(|(name, _)| name.as_str()).collect()))
        };
        let none: Option<(u64, Vec<&str>)> = None;
        for fine in [&[][..], &[7], &[u64::MAX], &[0, 7], &[0, APART], &[5, APART + 5], &[u64::MAX, u64::MAX - 1]] {
            assert_eq!(judge(fine), none, "{fine:?}");
        }
        assert_eq!(judge(&[5, APART + 6]), Some((5, vec!["b"])));
        assert_eq!(judge(&[u64::MAX - 1, 7, 9]), Some((9, vec!["a"])));
        // Two of the same mind are no more believable than one.
        assert_eq!(judge(&[u64::MAX - 1, 7, u64::MAX - 2, 9]), Some((9, vec!["c", "a"])));
        assert_eq!(judge(&[1 << 40, 7, 1 << 60, 9]), Some((9, vec!["a", "c"])));
    }

    #[test]
    fn there_is_no_next_one_at_the_end() {
        assert_eq!(Epoch(0).next(), Some(Epoch(1)));
        assert_eq!(Epoch(LAST.0 - 1).next(), Some(LAST));
        for end in [LAST.0, LAST.0 + 1, u64::MAX - 2, u64::MAX - 1, u64::MAX] {
            assert_eq!(Epoch(end).next(), None);
        }
    }
}
