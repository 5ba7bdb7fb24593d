//! The end of all work, because the user or the system asks the process to end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stop_group::StopGroup;

/// Ends the work of all groups that were made by it, for good.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_set: bool,
    groups: Vec<StopGroup>,
}

impl Interrupt {
    /// A new group, whose work ends when this is set.
    pub(super) fn group(&self) -> StopGroup {
        let group = StopGroup::default();
        let mut state = self.lock();
        if state.is_set {
            group.stop_for_good();
        }
        state.groups.retain(StopGroup::is_used_elsewhere);
        state.groups.push(group.clone());
        group
    }

    /// Ends all work, and work that begins later.
    pub(super) fn set(&self) {
        let mut state = self.lock();
        state.is_set = true;
        state.groups.iter().for_each(StopGroup::stop_for_good);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_groups_are_stopped_for_good() {
        let interrupt = Interrupt::default();
        let before = interrupt.group();
        let work = before.begin_work();
        assert!(!work.is_stopped());
        interrupt.set();
        assert!(work.is_stopped());
        drop(work);
        assert!(before.begin_work().is_stopped());
        assert!(interrupt.group().begin_work().is_stopped());
        assert!(!StopGroup::default().begin_work().is_stopped());
    }

    #[test]
    fn groups_that_nothing_uses_are_forgotten() {
        let interrupt = Interrupt::default();
        let kept = interrupt.group();
        for _ in 0..10 {
            drop(interrupt.group());
        }
        assert!(interrupt.lock().groups.len() <= 2);
        interrupt.set();
        assert!(kept.begin_work().is_stopped());
    }
}
