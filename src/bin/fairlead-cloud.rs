//! fairlead-cloud: arguments in, exit code out.
fn main() {}
