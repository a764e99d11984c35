//! The rules of [`Keyring`], over a real embedded store.
