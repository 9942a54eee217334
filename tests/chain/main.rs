//! The chain, end to end.
mod lab;
use std::process::ExitCode;
fn main() -> ExitCode {
    match lab::node_image::NodeImage::obtain(&|text| eprintln!("{text}")) {
        Ok(image) => { eprintln!("{image:?}"); ExitCode::SUCCESS }
        Err(error) => { eprintln!("{error}"); ExitCode::FAILURE }
    }
}
