//! No file, however damaged, makes the reader panic or take memory that the file does not have.

use super::made::{Order, classic, everything, frame};
use super::{contents, read};
use crate::port::capture::Capture;
use random::Random;

const SEED: u64 = 0x0b01_4ead;

fn samples() -> Vec<Vec<u8>> {
    let (a, b) = (frame(60, 1), frame(90, 2));
    let mut samples = vec![everything()];
    for order in Order::BOTH {
        for (magic, link) in [(0xa1b2_c3d4, 1), (0xa1b2_3c4d, 0x2400_0001), (0xa1b2_cd34, 1)] {
            samples.push(classic(order, magic, link, &[(1, 2, 60, &a), (3, 4, 1_500, &b)]));
        }
    }
    samples
}

/// Reads all that the file lets be read, checks that it stays within the file, and says how many records it is.
fn exercise(file: Vec<u8>) -> usize {
    let size = file.len();
    let Ok(capture) = read(file) else { return 0 };
    let bytes: usize = capture.records().map(|r| r.data.len()).sum();
    assert!(bytes <= size && capture.len() <= size / 16, "records hold no more than the file");
    capture.len()
}

/// How long the file's header is: that of a classic file, or the first block.
fn header(file: &[u8]) -> usize {
    if file[0] == 0x0a { usize::from(file[4]) } else { 24 }
}

#[test]
fn a_file_cut_at_any_byte_yields_what_is_whole_before_it() {
    for file in samples() {
        let whole = contents(&read(file.clone()).unwrap());
        let mut most = 0;
        for end in 0..file.len() {
            match read(file[..end].to_vec()) {
                Ok(cut) => {
                    assert_eq!(contents(&cut), whole[..cut.len()], "cut at {end}");
                    assert!(cut.len() >= most, "a longer file holds no less");
                    most = cut.len();
                }
                Err(error) => assert!(end < header(&file), "cut at {end}: {error}"),
            }
        }
        assert_eq!(most, whole.len() - 1, "all but the last record precede the last byte");
    }
}

#[test]
fn a_file_that_ends_between_records_is_not_truncated_and_any_other_is() {
    let file =
        classic(Order::Little, 0xa1b2_c3d4, 1, &[(1, 2, 60, &frame(60, 1)), (3, 4, 60, &frame(60, 2))]);
    for end in 24..=file.len() {
        let capture = read(file[..end].to_vec()).unwrap();
        assert_eq!(capture.truncated(), ![24, 100, 176].contains(&end), "cut at {end}");
    }
}

#[test]
fn flipping_any_single_bit_never_panics() {
    for file in samples() {
        for bit in 0..file.len() * 8 {
            let mut mutant = file.clone();
            mutant[bit / 8] ^= 1 << (bit % 8);
            exercise(mutant);
        }
    }
}

#[test]
fn random_mutation_never_panics() {
    println!("seed {SEED:#x}");
    let mut random = Random::new(SEED);
    let samples = samples();
    let mut records = 0;
    for _ in 0..200_000 {
        let mut mutant = samples[random.index(samples.len())].clone();
        for _ in 0..=random.index(6) {
            let at = random.index(mutant.len());
            match random.index(5) {
                0 => mutant[at] = random.next() as u8,
                1 => mutant[at] = [0, 0xff, 0x7f, 0x80][random.index(4)],
                2 => mutant.truncate(at.max(1)),
                3 => {
                    let word = [0, u32::MAX, 0x7fff_ffff, 12, 28, 32][random.index(6)].to_le_bytes();
                    for (byte, value) in mutant[at..].iter_mut().zip(word) {
                        *byte = value;
                    }
                }
                _ => {
                    let length = random.index(64);
                    let piece: Vec<u8> = mutant[at..].iter().copied().take(length).collect();
                    mutant.splice(at..at, piece);
                }
            }
        }
        records += exercise(mutant);
    }
    assert!(records > 100_000, "most mutants are still read in part, but {records} records are few");
}

#[test]
fn garbage_behind_each_magic_number_never_panics() {
    println!("seed {SEED:#x}");
    let mut random = Random::new(SEED);
    for sample in samples() {
        for _ in 0..5_000 {
            let kept = [4, 12, 24, 28][random.index(4)];
            let length = kept + random.index(200);
            let mut file = sample[..kept].to_vec();
            file.resize_with(length, || random.next() as u8);
            exercise(file);
        }
    }
}

#[test]
fn a_record_that_claims_gigabytes_ends_the_capture() {
    let (a, b) = (frame(60, 1), frame(60, 2));
    let mut file = classic(Order::Little, 0xa1b2_c3d4, 1, &[(1, 2, 60, &a), (3, 4, 60, &b)]);
    file[108..112].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    let capture = read(file).unwrap();
    assert_eq!(contents(&capture), [(1_000_002_000, a)]);
    let damage = capture.damage().expect("the second record is damaged").to_string();
    assert_eq!(damage, "damaged at byte 100: a record longer than 262144 bytes");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let message = Capture::read("/no/such/file.pcap").unwrap_err().to_string();
    assert!(message.starts_with("/no/such/file.pcap: can't be read: "), "{message}");
}
