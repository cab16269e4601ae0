//! HyperLogLog: how many different things were seen, in 12 KB. Redis's format (dense), hash and estimate, so that the
//! counts are Redis's.

use skep_state::strings::{self, Expiry, If};

use crate::call::Call;
use crate::fault::{Done, Fault, text};
use crate::notify::STRING;

const REGISTERS: usize = 1 << 14;
const HEADER: usize = 16;
const BYTES: usize = HEADER + REGISTERS * 6 / 8;
/// Bits of a hash that do not choose the register.
const Q: u32 = 50;

/// MurmurHash64A with Redis's seed.
fn hash(bytes: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut h = 0xadc8_3b19_u64 ^ (bytes.len() as u64).wrapping_mul(M);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in chunks.by_ref() {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        let mut k = u64::from_le_bytes(eight).wrapping_mul(M);
        k ^= k >> 47;
        h = (h ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let mut eight = [0; 8];
        eight[..rest.len()].copy_from_slice(rest);
        h = (h ^ u64::from_le_bytes(eight)).wrapping_mul(M);
    }
    h ^= h >> 47;
    h = h.wrapping_mul(M);
    h ^ (h >> 47)
}

type Registers = Vec<u8>;

fn load(c: &Call<'_, '_>, key: &[u8]) -> Result<Option<Registers>, Fault> {
    let view = c.access.view();
    let Some(value) = strings::get(&view, c.space, key)? else { return Ok(None) };
    if value.len() != BYTES || &value[..4] != b"HYLL" || value[4] != 0 {
        return Err(text("WRONGTYPE Key is not a valid HyperLogLog string value."));
    }
    let registers = (0..REGISTERS).map(|index| {
        let bit = index * 6;
        let low = u16::from(value[HEADER + bit / 8]);
        let high = value.get(HEADER + bit / 8 + 1).copied().map_or(0, u16::from);
        ((low | high << 8) >> (bit % 8) & 63) as u8
    });
    Ok(Some(registers.collect()))
}

fn save(c: &mut Call<'_, '_>, key: &[u8], registers: &Registers) -> Done {
    let mut value = vec![0u8; BYTES];
    value[..4].copy_from_slice(b"HYLL");
    // No cached estimate: its highest bit says that it is stale.
    value[15] = 0x80;
    for (index, register) in registers.iter().enumerate() {
        let bit = index * 6;
        let shifted = u16::from(*register) << (bit % 8);
        value[HEADER + bit / 8] |= shifted.to_le_bytes()[0];
        if let Some(next) = value.get_mut(HEADER + bit / 8 + 1) {
            *next |= shifted.to_le_bytes()[1];
        }
    }
    strings::set(c.access.tx(), c.space, key, &value, Expiry::Keep, If::Always)?;
    c.event(STRING, "pfadd", key);
    Ok(())
}

/// Ertl's estimate, as in Redis's `hllCount`.
fn estimate(registers: &Registers) -> u64 {
    let mut histogram = [0u32; 64];
    for register in registers {
        histogram[usize::from(*register & 63)] += 1;
    }
    let m = REGISTERS as f64;
    let mut z = m * tau((m - f64::from(histogram[Q as usize + 1])) / m);
    for j in (1..=Q as usize).rev() {
        z = 0.5 * (z + f64::from(histogram[j]));
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    let alpha = 0.5 / std::f64::consts::LN_2;
    (alpha * m * m / z).round() as u64
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

pub(crate) fn pfadd(c: &mut Call<'_, '_>) -> Done {
    let key = c.args[1];
    let found = load(c, key)?;
    let mut changed = found.is_none();
    let mut registers = found.unwrap_or_else(|| vec![0; REGISTERS]);
    for element in &c.args[2..] {
        let hash = hash(element);
        let index = (hash & (REGISTERS as u64 - 1)) as usize;
        let rest = hash >> 14 | 1 << Q;
        let run = (rest.trailing_zeros() + 1) as u8;
        if registers[index] < run {
            registers[index] = run;
            changed = true;
        }
    }
    if changed {
        save(c, key, &registers)?;
    }
    c.out.flag(changed);
    Ok(())
}

fn merged(c: &Call<'_, '_>, names: &[&[u8]]) -> Result<Registers, Fault> {
    let mut all = vec![0u8; REGISTERS];
    for key in names {
        if let Some(registers) = load(c, key)? {
            for (a, b) in all.iter_mut().zip(registers) {
                *a = (*a).max(b);
            }
        }
    }
    Ok(all)
}

pub(crate) fn pfcount(c: &mut Call<'_, '_>) -> Done {
    let all = merged(c, &c.args[1..])?;
    c.out.size(estimate(&all));
    Ok(())
}

pub(crate) fn pfmerge(c: &mut Call<'_, '_>) -> Done {
    let all = merged(c, &c.args[1..])?;
    save(c, c.args[1], &all)?;
    c.out.ok();
    Ok(())
}
