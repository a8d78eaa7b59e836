//! Blocks of bytes that several threads read at the same time, from a pool that bounds how many there are.

use std::io::{self, Read};
use std::ops::Deref;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::ScopedJoinHandle;

/// Bytes of one block: large enough that handing it over costs nothing, small enough that a core's cache still holds it
/// when the next thread looks at it.
const BLOCK: usize = 256 << 10;

/// Blocks on their way at once. Together 4 MiB, whatever the size of the input.
const BLOCKS: usize = 16;

/// Makes blocks, and waits for one to come back once all are on their way.
///
/// The channels to the threads need no bound of their own. Nobody can wait for ever: a thread that ends drops what is
/// queued for it, and that brings those blocks back.
pub(super) struct Pool {
    home: Sender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
    made: usize,
}

impl Pool {
    pub(super) fn new() -> Self {
        let (home, returned) = channel();
        Self { home, returned, made: 0 }
    }

    /// Reads until a block is full or the input ends; `None` at its end.
    pub(super) fn fill(&mut self, input: &mut impl Read) -> io::Result<Option<Block>> {
        let mut block = Block { bytes: self.take(), length: 0, home: self.home.clone() };
        while block.length < block.bytes.len() {
            match input.read(&mut block.bytes[block.length..]) {
                Ok(0) => break,
                Ok(count) => block.length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok((block.length > 0).then_some(block))
    }

    fn take(&mut self) -> Vec<u8> {
        if let Ok(bytes) = self.returned.try_recv() {
            return bytes;
        }
        if self.made < BLOCKS {
            self.made += 1;
            return vec![0; BLOCK];
        }
        self.returned.recv().expect("the pool itself keeps a sender")
    }
}

/// Some bytes of the input. Goes back to its pool with its last reader.
pub(super) struct Block {
    bytes: Vec<u8>,
    length: usize,
    home: Sender<Vec<u8>>,
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // Fails only when the pool is gone, and then nobody wants it.
        let _ = self.home.send(std::mem::take(&mut self.bytes));
    }
}

/// A thread's result; its panic goes on here.
pub(super) fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
