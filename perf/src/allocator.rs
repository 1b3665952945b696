//! Memory on pages of 2 MB, as the gateway itself has it: tables of tens of megabytes miss the TLB else.
//!
//! The kernel gives such pages to who asks (`madvise`, the usual setting of transparent huge pages), and jemalloc asks
//! for all that it hands out.
#![allow(unsafe_code)]

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What jemalloc reads when it starts (its manual, TUNING).
// SAFETY: jemalloc declares the symbol as a pointer to a C string, and that is what it is; nothing else has the name.
#[unsafe(export_name = "_rjem_malloc_conf")]
static CONFIGURATION: &[u8; 29] = b"thp:always,metadata_thp:auto\0";
