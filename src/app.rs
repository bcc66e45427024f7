//! Composition root: settings in, running system out. The only file that knows every room.
