//! An app's listening sockets: groups, selection, stealing.
