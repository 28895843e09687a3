//! A peer: echoes as one writes them with tokio, a task for each connection, on one thread.
//!
//! No limits, no log, nothing tuned but what all peers have. Invariant: it shares no code with the
//! daemon or the limits.

use std::convert::Infallible;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{Builder, Runtime};

const BUFFER_BYTES: usize = 16 * 1024;
const DATAGRAM_BYTES: usize = 64 * 1024;

/// Echoes what connections say until accepting fails.
pub(crate) fn serve_streams(listener: std::net::TcpListener) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (socket, _) = listener.accept().await?;
            tokio::spawn(echo(socket));
        }
    })
}

async fn echo(mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = socket.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        socket.write_all(&buffer[..read]).await?;
    }
}

/// Sends each datagram back until the socket fails.
pub(crate) fn serve_datagrams(socket: std::net::UdpSocket) -> io::Result<Infallible> {
    socket.set_nonblocking(true)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let socket = UdpSocket::from_std(socket)?;
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..length], peer).await?;
        }
    })
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().build()
}
