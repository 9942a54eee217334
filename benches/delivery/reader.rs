//! A TFTP reader that takes a file as fast as it comes: lock step, and windows (RFC 7440).

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use fairlead::failure::{Failure, Result};

use super::site::SERVER;

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) block_size: u16,
    /// Blocks before an ACK; 1 is lock step, and is not asked for.
    pub(crate) window: u16,
}

/// What came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Octets.
    pub(crate) size: u64,
    /// From the request to the last block.
    pub(crate) time: Duration,
    /// How often it waited in vain.
    pub(crate) stalls: u32,
}

const STALL: Duration = Duration::from_millis(500);

/// Reads a file to its end, as the machine with that address.
///
/// # Errors
/// When the server refuses, agrees to other options, or is silent.
pub(crate) fn read(from: Ipv4Addr, file: &str, wish: Wish) -> Result<Taken> {
    let failed = |error: io::Error| Failure::new("the TFTP reader's socket failed").cause(&error);
    let socket = UdpSocket::bind((from, 0)).map_err(failed)?;
    socket.set_read_timeout(Some(STALL)).map_err(failed)?;
    let mut request = format!("\0\x01{file}\0octet\0blksize\0{}\0", wish.block_size);
    if wish.window > 1 {
        request.push_str(&format!("windowsize\0{}\0", wish.window));
    }
    let mut packet = vec![0; 65_536];
    let (begun, mut stalls) = (Instant::now(), 0);
    let server = loop {
        socket.send_to(request.as_bytes(), SocketAddrV4::new(SERVER, 69)).map_err(failed)?;
        match socket.recv_from(&mut packet) {
            Ok((length, from)) => {
                agreed(packet.get(..length).unwrap_or_default(), wish)?;
                break from;
            }
            Err(_) if stalls < 20 => stalls += 1,
            Err(error) => return Err(failed(error)),
        }
    };
    socket.connect(server).map_err(failed)?;
    let mut ack = [0, 4, 0, 0];
    let (mut last, mut in_window, mut size, mut gap_told) = (0_u16, 0, 0_u64, false);
    socket.send(&ack).map_err(failed)?;
    loop {
        let length = match socket.recv(&mut packet) {
            Ok(length) => length,
            Err(_) if stalls < 20 => {
                stalls += 1;
                in_window = 0;
                socket.send(&ack).map_err(failed)?;
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        let [0, 3, high, low, content @ ..] = packet.get(..length).unwrap_or_default() else { continue };
        let number = u16::from_be_bytes([*high, *low]);
        if number != last.wrapping_add(1) {
            // The first packet behind a gap asks for what is missing; a copy of an old one says nothing.
            if wish.window > 1 && number.wrapping_sub(last) < 0x8000 && !std::mem::replace(&mut gap_told, true) {
                in_window = 0;
                socket.send(&ack).map_err(failed)?;
            }
            continue;
        }
        gap_told = false;
        last = number;
        in_window += 1;
        size += u64::try_from(content.len()).unwrap_or(0);
        let is_last = content.len() < usize::from(wish.block_size);
        if is_last || in_window >= wish.window {
            in_window = 0;
            ack = [0, 4, *high, *low];
            socket.send(&ack).map_err(failed)?;
        }
        if is_last {
            return Ok(Taken { size, time: begun.elapsed(), stalls });
        }
    }
}

fn agreed(answer: &[u8], wish: Wish) -> Result<()> {
    let text = String::from_utf8_lossy(answer.get(2..).unwrap_or_default()).into_owned();
    let words: Vec<&str> = text.split('\0').collect();
    let value = |name: &str| words.iter().position(|word| word.eq_ignore_ascii_case(name)).and_then(|place| words.get(place + 1)).copied();
    let is_oack = answer.get(..2) == Some(&[0, 6]);
    let window = value("windowsize").unwrap_or("1");
    if is_oack && value("blksize") == Some(&wish.block_size.to_string()) && window == wish.window.to_string() {
        return Ok(());
    }
    Err(Failure::new("the server did not agree to what was asked").because(text.replace('\0', " ")))
}
