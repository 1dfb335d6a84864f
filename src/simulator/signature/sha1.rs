//! HMAC-SHA1 (RFC 2104, FIPS 180-4), which the old signature asks for and nothing else here.

/// In bytes.
const BLOCK: usize = 64;
const BEGINNING: [u32; 5] = [
    0x6745_2301,
    0xefcd_ab89,
    0x98ba_dcfe,
    0x1032_5476,
    0xc3d2_e1f0,
];

/// The code that vouches for `text`.
pub(super) fn hmac(key: &[u8], text: &[u8]) -> [u8; 20] {
    let mut padded = [0; BLOCK];
    if key.len() > BLOCK {
        padded[..20].copy_from_slice(&digest(&[key]));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let inner = digest(&[&padded.map(|byte| byte ^ 0x36), text]);
    digest(&[&padded.map(|byte| byte ^ 0x5c), &inner])
}

/// The digest of a whole first block, if there are two parts, and what follows it.
fn digest(parts: &[&[u8]]) -> [u8; 20] {
    let (last, whole) = parts.split_last().expect("there is something to digest");
    let mut state = BEGINNING;
    for block in whole {
        compress(&mut state, block);
    }
    let mut blocks = last.chunks_exact(BLOCK);
    for block in blocks.by_ref() {
        compress(&mut state, block);
    }
    // The end is a 1 bit, zeros, and the length in bits as the last 8 bytes of a block.
    let rest = blocks.remainder();
    let length = parts.iter().map(|part| part.len() as u64 * 8).sum::<u64>();
    let mut end = [0; 2 * BLOCK];
    end[..rest.len()].copy_from_slice(rest);
    end[rest.len()] = 0x80;
    let size = if rest.len() < BLOCK - 8 {
        BLOCK
    } else {
        2 * BLOCK
    };
    end[size - 8..size].copy_from_slice(&length.to_be_bytes());
    for block in end[..size].chunks_exact(BLOCK) {
        compress(&mut state, block);
    }
    let mut bytes = [0; 20];
    for (four, word) in bytes.chunks_exact_mut(4).zip(state) {
        four.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

fn compress(state: &mut [u32; 5], block: &[u8]) {
    let mut words = [0; 80];
    for (word, four) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([four[0], four[1], four[2], four[3]]);
    }
    for at in 16..80 {
        let mixed = words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16];
        words[at] = u32::rotate_left(mixed, 1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (round, word) in words.iter().enumerate() {
        let (mixed, constant) = match round {
            0..20 => ((b & c) | (!b & d), 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6_u32),
        };
        let next = a
            .rotate_left(5)
            .wrapping_add(mixed)
            .wrapping_add(e)
            .wrapping_add(constant)
            .wrapping_add(*word);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
    }
    for (sum, word) in state.iter_mut().zip([a, b, c, d, e]) {
        *sum = sum.wrapping_add(word);
    }
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    #[test]
    fn the_published_digests_are_met() {
        let of = |text: &[u8]| hex(&digest(&[text]));

        assert_eq!(of(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(of(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        // 56 bytes: the length no longer fits into their block.
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(of(two_blocks), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        let million = vec![b'a'; 1_000_000];
        assert_eq!(of(&million), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    }

    #[test]
    fn the_published_codes_are_met() {
        let of = |key: &[u8], text: &[u8]| hex(&hmac(key, text));

        // RFC 2202, cases 2 and 6: a short key, and one longer than a block.
        let short = of(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(short, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        let long = of(
            &[0xaa; 80],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
        );
        assert_eq!(long, "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    }
}
