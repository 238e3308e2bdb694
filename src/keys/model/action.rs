//! What can happen in the model.

use super::process::End;
use super::server::Server;

/// A node, by its number.
pub(super) type Node = usize;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// A plugin refreshes as a whole, and this server answers.
    Refresh(Node, Server),
    /// A plugin makes the next call of a refresh, which this server answers.
    Call(Node, Server),
    /// A plugin hears nothing of Vault for a long time.
    Silence(Node),
    /// A plugin is started again.
    Restart(Node, End),
    /// Its KeyManager fails.
    Panic(Node),
    /// It is configured with the other key, and reloaded; with a new suffix if so.
    Repoint(Node, bool),
    /// The same by a restart.
    RepointByRestart(Node, bool),
    /// An operator sets `transit.accept_replaced` as the error says, and reloads.
    Accept(Node),
    /// The same by a restart.
    AcceptByRestart(Node),
    /// Another client asks a plugin for its Status.
    OtherStatus(Node),
    /// kube-apiserver asks for the Status.
    Poll(Node),
    /// The same, and its Encrypt fails.
    PollInVain(Node),
    /// Its Encrypt is answered by the plugin, with this server.
    Encrypt(Node, Server),
    /// kube-apiserver writes an object.
    Write(Node, usize),
    /// kube-apiserver is started again.
    RestartApiServer(Node),
    /// Vault rotates the key by itself.
    Rotate,
    /// The standby has seen all changes.
    CatchUp,
    /// The key is deleted.
    Delete,
    /// A key of its name is created.
    Create,
    /// A snapshot of Vault is taken.
    TakeSnapshot,
    /// It is restored.
    Restore,
    /// `rotate --wait` begins.
    RotateCommand,
    /// It has seen that every kube-apiserver uses the latest version.
    RotateSeesAll,
    /// It has every object written again, by this node.
    Migrate(Node),
    /// `audit` counts what is in etcd.
    Audit,
    /// The command that it names is run.
    Raise,
    /// Nothing more happens but that each plugin refreshes and each kube-apiserver polls, several times.
    Settle,
}
