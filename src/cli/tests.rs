//! The commands as the command line gives them, against a server on a real socket.

mod ending;
mod following;
mod reading;
mod uploading;
