//! Processes that are killed by -9, or stopped, at every place on the way of a request and of a switch. Nothing that was
//! acknowledged is lost, nothing happens twice, no lock has two holders, and the others go on by themselves.

mod late;
mod matrix;
mod process;
mod scene;
mod stopped;
mod worker;
