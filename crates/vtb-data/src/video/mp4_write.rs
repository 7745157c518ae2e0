//! An MP4 file with one H.264 track: table of contents first, nothing that depends on the time of
//! writing.

/// One coded frame: NAL units with four-byte lengths.
pub(super) struct Coded {
    pub(super) data: Vec<u8>,
    /// Whether decoding can start here.
    pub(super) key: bool,
}

/// What the file says about its frames.
pub(super) struct Movie<'a> {
    pub(super) width: u16,
    pub(super) height: u16,
    /// Ticks a second, and ticks that each frame lasts.
    pub(super) timescale: u32,
    pub(super) ticks: u32,
    pub(super) sps: &'a [u8],
    pub(super) pps: &'a [u8],
    /// Primaries, transfer and matrix of H.273; the range is limited.
    pub(super) colors: [u8; 3],
}

/// A box under construction; its length is filled in at the end.
struct Open(usize);

struct Out(Vec<u8>);

impl Out {
    fn open(&mut self, name: &[u8; 4]) -> Open {
        let at = self.0.len();
        self.u32(0);
        self.0.extend(name);
        Open(at)
    }

    /// A box whose content starts with version 0 and flags.
    fn open_full(&mut self, name: &[u8; 4], flags: u32) -> Open {
        let open = self.open(name);
        self.u32(flags);
        open
    }

    fn close(&mut self, open: Open) {
        let size = (self.0.len() - open.0) as u32;
        self.0[open.0..open.0 + 4].copy_from_slice(&size.to_be_bytes());
    }

    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.0.extend(value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend(value.to_be_bytes());
    }

    fn zeros(&mut self, count: usize) {
        self.0.resize(self.0.len() + count, 0);
    }

    fn matrix(&mut self) {
        for value in [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000] {
            self.u32(value);
        }
    }
}

/// The whole file; `None` if it would pass 4 GiB, where its offsets end.
pub(super) fn mux(movie: &Movie<'_>, frames: &[Coded]) -> Option<Vec<u8>> {
    let data: u64 = frames.iter().map(|f| f.data.len() as u64).sum();
    let duration = u64::from(movie.ticks) * frames.len() as u64;
    u32::try_from(data + (64 << 20)).ok()?;
    let duration = u32::try_from(duration).ok()?;
    let mut out = Out(Vec::new());
    let ftyp = out.open(b"ftyp");
    out.0.extend(b"isom\0\0\x02\0isomiso2avc1mp41");
    out.close(ftyp);
    let place = moov(&mut out, movie, frames, duration);
    // The one chunk begins behind the header of `mdat`.
    let start = (out.0.len() + 8) as u32;
    out.0[place..place + 4].copy_from_slice(&start.to_be_bytes());
    out.0.reserve_exact(data as usize + 8);
    let mdat = out.open(b"mdat");
    for frame in frames {
        out.0.extend(&frame.data);
    }
    out.close(mdat);
    Some(out.0)
}

/// Returns where the offset of the chunk has to be filled in.
fn moov(out: &mut Out, movie: &Movie<'_>, frames: &[Coded], duration: u32) -> usize {
    let moov = out.open(b"moov");
    let mvhd = out.open_full(b"mvhd", 0);
    out.zeros(8); // no dates
    out.u32(movie.timescale);
    out.u32(duration);
    out.u32(0x1_0000); // speed
    out.u16(0x100); // volume
    out.zeros(10);
    out.matrix();
    out.zeros(24);
    out.u32(2); // next track
    out.close(mvhd);
    let trak = out.open(b"trak");
    let tkhd = out.open_full(b"tkhd", 3);
    out.zeros(8);
    out.u32(1); // track
    out.u32(0);
    out.u32(duration);
    out.zeros(16);
    out.matrix();
    out.u32(u32::from(movie.width) << 16);
    out.u32(u32::from(movie.height) << 16);
    out.close(tkhd);
    let place = mdia(out, movie, frames, duration);
    out.close(trak);
    out.close(moov);
    place
}

fn mdia(out: &mut Out, movie: &Movie<'_>, frames: &[Coded], duration: u32) -> usize {
    let mdia = out.open(b"mdia");
    let mdhd = out.open_full(b"mdhd", 0);
    out.zeros(8);
    out.u32(movie.timescale);
    out.u32(duration);
    out.u16(0x55c4); // language: undetermined
    out.u16(0);
    out.close(mdhd);
    let hdlr = out.open_full(b"hdlr", 0);
    out.u32(0);
    out.0.extend(b"vide");
    out.zeros(12);
    out.0.extend(b"video\0");
    out.close(hdlr);
    let minf = out.open(b"minf");
    let vmhd = out.open_full(b"vmhd", 1);
    out.zeros(8);
    out.close(vmhd);
    let dinf = out.open(b"dinf");
    let dref = out.open_full(b"dref", 0);
    out.u32(1);
    let url = out.open_full(b"url ", 1); // the data is in this file
    out.close(url);
    out.close(dref);
    out.close(dinf);
    let place = stbl(out, movie, frames);
    out.close(minf);
    out.close(mdia);
    place
}

fn stbl(out: &mut Out, movie: &Movie<'_>, frames: &[Coded]) -> usize {
    let count = frames.len() as u32;
    let stbl = out.open(b"stbl");
    stsd(out, movie);
    let stts = out.open_full(b"stts", 0);
    for value in [1, count, movie.ticks] {
        out.u32(value);
    }
    out.close(stts);
    let stss = out.open_full(b"stss", 0);
    let keys = || (1..).zip(frames).filter(|(_, f)| f.key).map(|(i, _)| i);
    out.u32(keys().count() as u32);
    for key in keys() {
        out.u32(key);
    }
    out.close(stss);
    let stsc = out.open_full(b"stsc", 0);
    for value in [1, 1, count, 1] {
        out.u32(value);
    }
    out.close(stsc);
    let stsz = out.open_full(b"stsz", 0);
    out.u32(0);
    out.u32(count);
    for frame in frames {
        out.u32(frame.data.len() as u32);
    }
    out.close(stsz);
    let stco = out.open_full(b"stco", 0);
    out.u32(1);
    let place = out.0.len();
    out.u32(0);
    out.close(stco);
    out.close(stbl);
    place
}

fn stsd(out: &mut Out, movie: &Movie<'_>) {
    let stsd = out.open_full(b"stsd", 0);
    out.u32(1);
    let avc1 = out.open(b"avc1");
    out.zeros(6);
    out.u16(1); // data reference
    out.zeros(16);
    out.u16(movie.width);
    out.u16(movie.height);
    out.u32(72 << 16); // dots per inch
    out.u32(72 << 16);
    out.zeros(4);
    out.u16(1); // frames per sample
    out.zeros(32);
    out.u16(24); // depth
    out.u16(0xffff);
    avcc(out, movie);
    let colr = out.open(b"colr");
    out.0.extend(b"nclx");
    for code in movie.colors {
        out.u16(u16::from(code));
    }
    out.u8(0); // limited range
    out.close(colr);
    let pasp = out.open(b"pasp");
    out.u32(1);
    out.u32(1);
    out.close(pasp);
    out.close(avc1);
    out.close(stsd);
}

fn avcc(out: &mut Out, movie: &Movie<'_>) {
    let avcc = out.open(b"avcC");
    out.u8(1);
    // Profile, constraints and level are the first bytes of the parameter set.
    out.0.extend(movie.sps.get(1..4).unwrap_or(&[66, 0xc0, 31]));
    out.u8(0xff); // lengths of four bytes
    out.u8(0xe1); // one sequence parameter set
    out.u16(movie.sps.len() as u16);
    out.0.extend(movie.sps);
    out.u8(1);
    out.u16(movie.pps.len() as u16);
    out.0.extend(movie.pps);
    out.close(avcc);
}
