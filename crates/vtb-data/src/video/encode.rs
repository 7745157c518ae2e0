//! The H.264 encoder, set up so that the same frames give the same bytes.

use openh264::encoder::{
    ColorPrimaries, Complexity, EncodedBitStream, Encoder, EncoderConfig, FrameRate,
    IntraFramePeriod, MatrixCoefficients, QpRange, RateControlMode, TransferCharacteristics,
    UsageType, VuiConfig,
};
use openh264::formats::YUVSource;
use openh264::{OpenH264API, Timestamp};

use super::color::Planes;
use super::mp4_write::Coded;
use super::params::{IDR, PPS, SLICE, SPS, nal_type};

/// What the parameter set and the container say of the colours: the pixels are sRGB, the matrix is
/// that of BT.601. As numbers of H.273: primaries, transfer, matrix.
pub(super) const COLORS: [u8; 3] = [
    ColorPrimaries::Bt709 as u8,
    TransferCharacteristics::Srgb as u8,
    MatrixCoefficients::Smpte170M as u8,
];

/// An encoder and the parameter sets that it has written.
pub(super) struct H264Encoder {
    encoder: Encoder,
    fps: f64,
    frames: u64,
    pub(super) sps: Vec<u8>,
    pub(super) pps: Vec<u8>,
}

impl H264Encoder {
    /// `quantizer` from 12 (finest) to 51; a frame that starts afresh at least every second.
    pub(super) fn new(fps: f64, quantizer: u8) -> Result<Self, String> {
        let config = EncoderConfig::new()
            // One thread and no decision that looks at the clock or at a bit budget.
            .num_threads(1)
            .usage_type(UsageType::CameraVideoRealTime)
            .complexity(Complexity::Low)
            // Moves the quantizer within its bounds, here one value. Other modes warn on stderr.
            .rate_control_mode(RateControlMode::Bufferbased)
            .qp(QpRange::new(quantizer, quantizer))
            .skip_frames(false)
            .scene_change_detect(false)
            .adaptive_quantization(false)
            .background_detection(false)
            .intra_frame_period(IntraFramePeriod::from_num_frames(fps.max(1.0) as u32))
            // Only bounds of the level that is declared; the quantizer alone decides.
            .max_frame_rate(FrameRate::from_hz(fps.clamp(1.0, 60.0) as f32))
            .bitrate(openh264::encoder::BitRate::from_bps(8_000_000))
            .vui(
                VuiConfig::bt601()
                    .color_primaries(ColorPrimaries::Bt709)
                    .transfer_characteristics(TransferCharacteristics::Srgb),
            );
        let encoder = Encoder::with_api_config(OpenH264API::from_source(), config)
            .map_err(|e| e.to_string())?;
        Ok(Self {
            encoder,
            fps,
            frames: 0,
            sps: Vec::new(),
            pps: Vec::new(),
        })
    }

    /// Encodes the next frame.
    pub(super) fn encode(&mut self, planes: &Planes) -> Result<Coded, String> {
        let time = Timestamp::from_millis((self.frames as f64 * 1000.0 / self.fps) as u64);
        let stream = self.encoder.encode_at(planes, time);
        let stream = stream.map_err(|e| format!("the encoder stops with {}", e.native_code()))?;
        let coded = collect(&stream, &mut self.sps, &mut self.pps)?;
        self.frames += 1;
        Ok(coded)
    }
}

/// Sorts NAL units: parameter sets to the header, where they must stay what they are, slices to
/// the frame.
fn collect(
    stream: &EncodedBitStream<'_>,
    sps: &mut Vec<u8>,
    pps: &mut Vec<u8>,
) -> Result<Coded, String> {
    let mut coded = Coded {
        data: Vec::new(),
        key: false,
    };
    let layers = (0..stream.num_layers()).filter_map(|i| stream.layer(i));
    for layer in layers {
        for unit in (0..layer.nal_count()).filter_map(|i| layer.nal_unit(i)) {
            // Start codes are 00 00 01 or 00 00 00 01.
            let zeros = unit.iter().take_while(|&&b| b == 0).count();
            let nal = unit.get(zeros + 1..).unwrap_or_default();
            match nal_type(nal) {
                SPS => set_once(sps, nal)?,
                PPS => set_once(pps, nal)?,
                kind @ (SLICE | IDR) => {
                    coded.key |= kind == IDR;
                    coded.data.extend((nal.len() as u32).to_be_bytes());
                    coded.data.extend(nal);
                }
                _ => {}
            }
        }
    }
    match coded.data.is_empty() {
        true => Err("the encoder left the frame out".into()),
        false => Ok(coded),
    }
}

fn set_once(set: &mut Vec<u8>, nal: &[u8]) -> Result<(), String> {
    if set.is_empty() {
        set.extend(nal);
    }
    match set == nal {
        true => Ok(()),
        false => Err("the encoder changed its parameters on the way".into()),
    }
}

impl YUVSource for Planes {
    fn dimensions(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.width, self.width / 2, self.width / 2)
    }

    fn y(&self) -> &[u8] {
        &self.y
    }

    fn u(&self) -> &[u8] {
        &self.u
    }

    fn v(&self) -> &[u8] {
        &self.v
    }
}
