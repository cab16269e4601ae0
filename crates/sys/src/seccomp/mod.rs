//! The bind interception filter and its notifications.
