//! The faults: a task for each class, which breaks something now and then by a stream of the seed.

mod database;
mod file;
mod freeze;
mod kill;
mod network;
mod server;

pub use freeze::is_alone as only_freezes;
pub use kill::terminate as retire;

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::field::Field;
use crate::options::Class;
use crate::rng::Rng;

/// Begins all that are asked for. They end when the field is stopped, and leave nothing broken behind.
pub fn begin(field: &Arc<Field>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let rng = |stream: &str| Rng::new(field.options.seed, stream);
    macro_rules! spawn {
        ($class:ident, $task:path) => {
            if field.options.has(Class::$class) {
                tasks.spawn($task(field.clone(), rng(stringify!($task))));
            }
        };
    }
    spawn!(F1, kill::kill);
    spawn!(F2, freeze::freeze);
    if freeze::is_alone(field) {
        for more in ["more", "still more"] {
            tasks.spawn(freeze::freeze(field.clone(), rng(more)));
        }
    }
    spawn!(F12, kill::deploy);
    if field.options.has(Class::F12) && !field.options.has(Class::F1) {
        // Handovers are only told from deaths where nobody dies.
        tasks.spawn(kill::deploy(field.clone(), rng("more deployments")));
    }
    if field.place.postgres().is_some() {
        spawn!(F3, database::crash);
        spawn!(F4, network::disturb);
        spawn!(F4, network::cut);
        spawn!(F5, server::end_sessions);
        spawn!(F7, server::read_only);
        spawn!(F8, server::fill_disk);
    } else {
        spawn!(F13, file::lock);
        spawn!(F13, file::second_process);
    }
    tasks
}
