//! Seeded randomness for the demo: a generator, a hash and smooth noise.
//!
//! The results depend on seeds only, and all operations are exactly rounded by IEEE 754 (no `sin`, no `exp`), so that the
//! demo has the same bytes on every machine.

/// A vector of three nm coordinates (or a direction), x, y, z.
pub(super) type Vec3 = [f32; 3];

/// SplitMix64's output function: every bit of the result depends on every bit of `value`.
#[inline]
pub(super) fn hash(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The SplitMix64 generator.
pub(super) struct Rng(u64);

impl Rng {
    /// A generator whose sequence depends on `seed` alone.
    pub(super) fn new(seed: u64) -> Self {
        Self(hash(seed))
    }

    /// The next 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash(self.0)
    }

    /// Uniform in [0, 1).
    pub(super) fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Uniform in [low, high).
    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..n; n at least 1.
    pub(super) fn index(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// A point in the unit ball.
    pub(super) fn in_ball(&mut self) -> Vec3 {
        loop {
            let p = [(); 3].map(|()| self.range(-1.0, 1.0));
            if dot(p, p) <= 1.0 {
                return p;
            }
        }
    }

    /// A direction of length 1.
    pub(super) fn direction(&mut self) -> Vec3 {
        loop {
            let p = self.in_ball();
            if dot(p, p) > 0.01 {
                return scaled(p, 1.0 / length(p));
            }
        }
    }
}

/// Roughly normal noise of standard deviation 1 for a voxel: the sum of the hash's bytes.
#[inline]
pub(super) fn grain(seed: u64, index: u64) -> f32 {
    let bits = hash(seed ^ index.wrapping_mul(0xd6e8_feb8_6659_fd93));
    let sum: u32 = bits.to_le_bytes().iter().map(|b| u32::from(*b)).sum();
    (sum as f32 - 8.0 * 127.5) / 209.0
}

const EDGE: usize = 32;

/// Smooth noise in [-1, 1] with features about one unit long; repeats after 32 units.
pub(super) struct Noise(Vec<f32>);

impl Noise {
    /// The noise field of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self((0..EDGE.pow(3)).map(|_| rng.range(-1.0, 1.0)).collect())
    }

    /// The value at a position given in units of the feature size.
    #[inline]
    pub(super) fn at(&self, p: Vec3) -> f32 {
        let mut low = [0; 3];
        let mut high = [0; 3];
        let mut t = [0.0; 3];
        for d in 0..3 {
            // Faster than `floor`, which is a function call on processors without SSE 4.1.
            let whole = p[d] as i32 - i32::from(p[d] < 0.0);
            let f = p[d] - whole as f32;
            low[d] = whole as usize % EDGE;
            high[d] = (low[d] + 1) % EDGE;
            t[d] = f * f * (3.0 - 2.0 * f);
        }
        let row = |y: usize, z: usize| {
            let start = (z * EDGE + y) * EDGE;
            let (a, b) = (self.0[start + low[0]], self.0[start + high[0]]);
            a + (b - a) * t[0]
        };
        let plane = |z: usize| {
            let (a, b) = (row(low[1], z), row(high[1], z));
            a + (b - a) * t[1]
        };
        let (a, b) = (plane(low[2]), plane(high[2]));
        a + (b - a) * t[2]
    }

    /// The value at `p` nm for features of `size` nm.
    #[inline]
    pub(super) fn at_nm(&self, p: Vec3, size: f32) -> f32 {
        self.at(scaled(p, 1.0 / size))
    }
}

/// 1 at 0, falling smoothly to 0 at 1 and beyond.
#[inline]
pub(super) fn bump(x: f32) -> f32 {
    let rest = (1.0 - x * x).max(0.0);
    rest * rest
}

/// 0 up to `low`, 1 from `high` on, smooth between.
#[inline]
pub(super) fn smooth_step(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Inner product.
#[inline]
pub(super) fn dot(a: Vec3, b: Vec3) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Euclidean length.
#[inline]
pub(super) fn length(a: Vec3) -> f32 {
    dot(a, a).sqrt()
}

/// `a * factor`.
#[inline]
pub(super) fn scaled(a: Vec3, factor: f32) -> Vec3 {
    [a[0] * factor, a[1] * factor, a[2] * factor]
}

/// `a + b * factor`.
#[inline]
pub(super) fn along(a: Vec3, b: Vec3, factor: f32) -> Vec3 {
    let [x, y, z] = scaled(b, factor);
    [a[0] + x, a[1] + y, a[2] + z]
}

/// `a - b`.
#[inline]
pub(super) fn minus(a: Vec3, b: Vec3) -> Vec3 {
    along(a, b, -1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // First outputs for the state 0, as published with the algorithm.
        let mut rng = Rng(0);
        assert_eq!(rng.bits(), hash(0x9e37_79b9_7f4a_7c15));
        assert_eq!(hash(0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn noise_is_continuous_bounded_and_repeats() {
        let noise = Noise::new(7);
        for i in 0..2000 {
            let p = [i as f32 * 0.037, i as f32 * -0.021, 3.3];
            let v = noise.at(p);
            assert!((-1.0..=1.0).contains(&v));
            assert!((noise.at([p[0] + 0.001, p[1], p[2]]) - v).abs() < 0.01);
            assert!((noise.at([p[0] + EDGE as f32, p[1], p[2]]) - v).abs() < 0.01);
        }
    }

    #[test]
    fn grain_has_mean_0_and_deviation_1() {
        let values: Vec<f32> = (0..20_000).map(|i| grain(3, i)).collect();
        let mean = values.iter().sum::<f32>() / 20_000.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05);
    }
}
