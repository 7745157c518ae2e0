//! The decoder of the tiny autoencoder along one axis: the numbers of its convolutions.
//!
//! Nearest doubling and a 3×3 convolution do the same in every place, so a decoder tells where in a block a pixel lies only
//! by what the blocks around it hold. Finer values come out right as far as such neighbours allow; the numbers are the
//! least-squares fit over random black, white and grey runs of 6 to 60 pixels, with what lies beyond black and white cut off
//! as [`QwenImageVae::decode`](crate::qwen_image::vae::QwenImageVae::decode) cuts it. Along two axes the decoder is the
//! product of the two: kernels are `out_y·out_x` from `in_y·in_x` channels.

/// Taps along an axis by output and input channel: `[before, here, after]`.
pub(super) type Taps = Vec<Vec<[f32; 3]>>;

/// What a latent holds of a block along an axis: mean, first half less second half, ends less middle.
pub(super) const KINDS: usize = 3;

/// At the size of the latent.
const CONV_IN: [[[f32; 3]; 3]; 4] = [
    [
        [-0.172, 1.036, -0.189],
        [-0.136, 0.302, 0.003],
        [0.207, -0.460, 0.612],
    ],
    [
        [0.029, 0.138, -0.085],
        [-0.010, -1.210, -0.263],
        [-0.030, 1.452, 1.001],
    ],
    [
        [0.047, 0.018, -0.153],
        [0.049, -0.986, -0.026],
        [-1.193, -2.196, -0.159],
    ],
    [
        [-0.140, 0.574, -0.083],
        [1.172, 0.214, -0.967],
        [-0.705, 1.111, -1.134],
    ],
];
/// After the first doubling.
const FIRST: [[[f32; 3]; 4]; 3] = [
    [
        [0.182, 0.660, 0.196],
        [0.038, 0.153, 0.030],
        [-0.309, -0.041, -0.040],
        [-0.192, 0.400, -0.157],
    ],
    [
        [0.077, -0.164, 0.108],
        [-0.084, 0.011, 0.198],
        [-0.182, 0.860, 0.354],
        [0.347, -0.706, 0.393],
    ],
    [
        [0.222, -0.008, 0.108],
        [-0.597, -1.644, 0.211],
        [0.019, -0.540, -0.156],
        [0.320, -0.478, 0.112],
    ],
];
/// After the second.
const SECOND: [[[f32; 3]; 3]; 3] = [
    [
        [0.230, 0.615, 0.235],
        [0.533, -0.535, 0.051],
        [-0.126, -0.216, 0.390],
    ],
    [
        [-0.214, 0.024, 0.144],
        [0.511, 0.156, -0.199],
        [0.262, 0.595, 0.023],
    ],
    [
        [0.154, -0.187, 0.010],
        [-0.912, 0.426, -0.306],
        [0.090, 0.243, -0.427],
    ],
];
/// After the third.
const THIRD: [[[f32; 3]; 3]; 1] = [[
    [0.285, 0.604, 0.272],
    [-0.198, -0.137, 0.356],
    [-0.290, -0.224, -0.329],
]];
/// At the size of the picture.
const HEAD: [f32; 3] = [0.016, 1.068, -0.040];

/// The five convolutions, from latent to pixel. Blocks of one colour come out as they went in: the last is scaled to it.
pub(super) fn chain() -> [Taps; 5] {
    let head = HEAD;
    let mut chain = [
        taps(&CONV_IN),
        taps(&FIRST),
        taps(&SECOND),
        taps(&THIRD),
        taps(&[[head]]),
    ];
    // What a mean of 1 everywhere comes to.
    let mut flat = vec![0.0; KINDS];
    flat[0] = 1.0;
    for stage in &chain {
        let through = |row: &Vec<[f32; 3]>| {
            let products = row.iter().zip(&flat);
            products.map(|(t, x)| t.iter().sum::<f32>() * x).sum()
        };
        flat = stage.iter().map(through).collect();
    }
    chain[4] = taps(&[[head.map(|tap| tap / flat[0])]]);
    chain
}

fn taps<const O: usize, const I: usize>(table: &[[[f32; 3]; I]; O]) -> Taps {
    table.iter().map(|row| row.to_vec()).collect()
}
