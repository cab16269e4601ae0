//! Learning how children end, and killing what they leave behind before their number can be reused.

use skep_sys::wait::{self, Zombie};

use super::{Keeper, log};
use crate::fault;

impl Keeper {
    /// Reaps all that has ended: children, the daemon, adopted orphans.
    pub(crate) fn reap_all(&mut self) {
        loop {
            match wait::peek_any() {
                Ok(Some(zombie)) => self.reap(zombie),
                Ok(None) => return,
                Err(error) => return log(&format!("cannot look for ended children: {error}")),
            }
        }
    }

    fn reap(&mut self, zombie: Zombie) {
        fault::point("keeper", "before-reap");
        let child = self.children.id_of(zombie.pid);
        if child.and_then(|id| self.children.get(id)).is_some_and(|child| child.kill_tree) {
            // While it is a zombie its pid, group and session belong to nobody else.
            self.kill_left_behind(zombie.pid);
        }
        if let Err(error) = wait::reap(zombie.pid) {
            log(&format!("cannot reap process {}: {error}", zombie.pid));
        }
        if child.is_some() {
            self.children.ended(zombie.pid, zombie.status);
        } else if self.daemon.pid() == Some(zombie.pid) {
            self.daemon_ended(zombie.status);
        } else if self.upgrade.check_pid() == Some(zombie.pid) {
            self.check_ended(zombie.status);
        }
    }

    fn kill_left_behind(&self, leader: i32) {
        let me = rustix::process::getpid().as_raw_nonzero().get();
        let ours = [self.daemon.pid(), self.upgrade.check_pid()];
        let known = |pid: i32| ours.contains(&Some(pid)) || self.children.id_of(pid).is_some();
        skep_sys::proc::kill_left_behind(leader, me, &known);
    }
}
