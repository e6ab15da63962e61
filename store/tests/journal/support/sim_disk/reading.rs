//! The reading side of the simulated disk.

use std::io;

use touchline_store::journal::disk::{ReadAt, ReadDisk};

use super::SimDisk;

impl ReadDisk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        let node = self.inner().node(name)?;
        Ok(Box::new(SimFile(self.clone(), node)))
    }
}

struct SimFile(SimDisk, usize);

impl ReadAt for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.inner().nodes[self.1].live.len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let inner = self.0.inner();
        let blocks = offset / 4096..(offset + buf.len() as u64).div_ceil(4096);
        if inner.bad.iter().any(|(node, block)| *node == self.1 && blocks.contains(block)) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let from = inner.nodes[self.1].live.get(offset as usize..).unwrap_or_default();
        let len = from.len().min(buf.len());
        buf[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }
}
