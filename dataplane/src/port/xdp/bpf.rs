//! Loading and attaching BPF programs: the few calls into libbpf, made safe.
//!
//! An unsafe island: each function hands pointers to C that are valid for the call, and takes ownership of the
//! descriptor that comes back. It does not know what the programs do.
#![allow(unsafe_code)]

use super::insn::Instruction;
use libxdp_sys as sys;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Kinds of maps that are used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapKind {
    /// Queue number → AF_XDP socket.
    Sockets,
    /// Index → value, one copy per CPU.
    PerCpuArray,
    /// Index → value.
    Array,
}

/// Where a program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProgramKind {
    /// On receive, before the kernel makes a packet buffer.
    Xdp,
    /// As a traffic-control classifier.
    Classifier,
}

/// How an XDP program is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// In the driver.
    Driver,
    /// In the kernel's generic receive path.
    Generic,
}

/// The two directions of a classifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Frames that the interface received.
    Ingress,
    /// Frames that it is about to send.
    Egress,
}

/// `XDP_FLAGS_SKB_MODE` (include/uapi/linux/if_link.h).
const GENERIC_MODE: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`.
const DRIVER_MODE: u32 = 1 << 2;
const GPL: &CStr = c"GPL";

/// What libbpf returned, as a result: it gives errors as negative numbers.
fn check(returned: i32) -> io::Result<i32> {
    if returned < 0 { Err(io::Error::from_raw_os_error(-returned)) } else { Ok(returned) }
}

fn own(returned: i32) -> io::Result<OwnedFd> {
    let descriptor = check(returned)?;
    // SAFETY: libbpf has just opened this descriptor for us, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Makes a map with keys of 32 bits.
///
/// # Errors
/// The kernel's: no permission, no memory.
pub fn create_map(kind: MapKind, name: &CStr, value_size: u32, entries: u32) -> io::Result<OwnedFd> {
    let kind = match kind {
        MapKind::Sockets => sys::bpf_map_type_BPF_MAP_TYPE_XSKMAP,
        MapKind::PerCpuArray => sys::bpf_map_type_BPF_MAP_TYPE_PERCPU_ARRAY,
        MapKind::Array => sys::bpf_map_type_BPF_MAP_TYPE_ARRAY,
    };
    // SAFETY: the name is a C string that outlives the call; null options are allowed.
    own(unsafe { sys::bpf_map_create(kind, name.as_ptr(), 4, value_size, entries, std::ptr::null()) })
}

/// Writes an entry of a map whose values have 32 bits.
///
/// # Errors
/// The kernel's: no such key, a descriptor that is no socket.
pub fn update_map(map: BorrowedFd<'_>, key: u32, value: u32) -> io::Result<()> {
    let (key, value) = ((&raw const key).cast(), (&raw const value).cast());
    // SAFETY: key and value have the four bytes each that all maps made here read from them.
    check(unsafe { sys::bpf_map_update_elem(map.as_raw_fd(), key, value, 0) }).map(|_| ())
}

/// The sum over all CPUs of one entry of a per-CPU array of 64-bit counters.
///
/// # Errors
/// The kernel's.
pub fn sum_counter(map: BorrowedFd<'_>, key: u32) -> io::Result<u64> {
    let mut values = vec![0_u64; possible_cpus()];
    let (key, buffer) = ((&raw const key).cast(), values.as_mut_ptr().cast());
    // SAFETY: the kernel writes eight bytes per possible CPU, for which `values` has room.
    check(unsafe { sys::bpf_map_lookup_elem(map.as_raw_fd(), key, buffer) })?;
    Ok(values.iter().sum())
}

/// How many CPUs there can ever be, which is what the kernel sizes per-CPU values by: the end of the range that
/// the kernel's file names, or far more than any machine has.
fn possible_cpus() -> usize {
    const MORE_THAN_ANY: usize = 8192;
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit(['-', ',']).next().and_then(|n| n.parse::<usize>().ok());
    last.map_or(MORE_THAN_ANY, |n| n + 1)
}

/// Loads a program.
///
/// # Errors
/// The kernel's; where the verifier refused the program its words are in the error.
pub fn load_program(kind: ProgramKind, name: &CStr, code: &[Instruction]) -> io::Result<OwnedFd> {
    let (kind, attach) = match kind {
        ProgramKind::Xdp => (sys::bpf_prog_type_BPF_PROG_TYPE_XDP, sys::bpf_attach_type_BPF_XDP),
        ProgramKind::Classifier => (sys::bpf_prog_type_BPF_PROG_TYPE_SCHED_CLS, 0),
    };
    let mut log = vec![0_u8; 64 * 1024];
    // SAFETY: all fields of the options are integers and pointers, for which zero is "not given".
    let mut options: sys::bpf_prog_load_opts = unsafe { std::mem::zeroed() };
    options.sz = size_of::<sys::bpf_prog_load_opts>();
    options.expected_attach_type = attach;
    options.log_buf = log.as_mut_ptr().cast();
    options.log_size = log.len() as u32;
    let (name, code_start) = (name.as_ptr(), code.as_ptr().cast());
    // SAFETY: code, names, options and log outlive the call; `Instruction` has the layout of `bpf_insn`.
    let returned =
        unsafe { sys::bpf_prog_load(kind, name, GPL.as_ptr(), code_start, code.len(), &raw mut options) };
    own(returned).map_err(|error| {
        let said = CStr::from_bytes_until_nul(&log).map(CStr::to_string_lossy).unwrap_or_default();
        if said.is_empty() { error } else { io::Error::new(error.kind(), format!("{error}: {said}")) }
    })
}

/// Attaches an XDP program to an interface by a link: it is detached when the returned descriptor is closed, so
/// also when this process is killed.
///
/// # Errors
/// The kernel's: `EBUSY` and `EEXIST` where a program is attached already, `EOPNOTSUPP` where the driver has no
/// XDP, `ERANGE` or `EINVAL` where it has none for the MTU.
pub fn link_xdp(program: BorrowedFd<'_>, interface: u32, hook: Hook) -> io::Result<OwnedFd> {
    // SAFETY: all fields of the options are integers and pointers, for which zero is "not given".
    let mut options: sys::bpf_link_create_opts = unsafe { std::mem::zeroed() };
    options.sz = size_of::<sys::bpf_link_create_opts>();
    options.flags = match hook {
        Hook::Driver => DRIVER_MODE,
        Hook::Generic => GENERIC_MODE,
    };
    let kind = sys::bpf_attach_type_BPF_XDP;
    // SAFETY: the options outlive the call; the rest are numbers.
    own(unsafe { sys::bpf_link_create(program.as_raw_fd(), interface as i32, kind, &raw const options) })
}

/// Whether a link of [`link_xdp`] is still attached: it is not once its interface is gone, or once somebody has detached
/// it (`BPF_LINK_DETACH`).
///
/// # Errors
/// The kernel's.
pub fn is_linked(link: BorrowedFd<'_>) -> io::Result<bool> {
    let info = link_info(link)?;
    // SAFETY: the link is of XDP, so this is the part that the kernel has filled in; any bits are a number.
    Ok(unsafe { info.__bindgen_anon_1.xdp.ifindex } != 0)
}

/// Detaches the XDP program of an interface, whoever holds the link: what an administrator does with
/// `bpftool link detach`. Whether there was one.
///
/// # Errors
/// The kernel's.
pub fn detach_program_of(interface: u32) -> io::Result<bool> {
    let program = program_of(interface)?;
    let mut id = 0;
    loop {
        // SAFETY: the number outlives the call.
        match check(unsafe { sys::bpf_link_get_next_id(id, &raw mut id) }) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(false),
            Err(error) => return Err(error),
        }
        // SAFETY: the call takes a number. A link may have ended meanwhile.
        let Ok(link) = own(unsafe { sys::bpf_link_get_fd_by_id(id) }) else { continue };
        let info = link_info(link.as_fd())?;
        if program != 0 && info.prog_id == program && info.type_ == sys::bpf_link_type_BPF_LINK_TYPE_XDP {
            // SAFETY: the descriptor is open.
            return check(unsafe { sys::bpf_link_detach(link.as_raw_fd()) }).map(|_| true);
        }
    }
}

fn link_info(link: BorrowedFd<'_>) -> io::Result<sys::bpf_link_info> {
    // SAFETY: all fields are integers and pointers, for which zero is "not given".
    let mut info: sys::bpf_link_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<sys::bpf_link_info>() as u32;
    // SAFETY: the kernel writes no more than `length` bytes into the structure.
    check(unsafe { sys::bpf_link_get_info_by_fd(link.as_raw_fd(), &raw mut info, &raw mut length) })?;
    Ok(info)
}

/// The number of the XDP program of an interface; 0: it has none.
fn program_of(interface: u32) -> io::Result<u32> {
    let mut program = 0;
    // SAFETY: the number outlives the call.
    check(unsafe { sys::bpf_xdp_query_id(interface as i32, 0, &raw mut program) })?;
    Ok(program)
}

/// Whether any XDP program is attached to an interface. `false` also where the kernel does not say.
#[must_use]
pub fn has_program(interface: u32) -> bool {
    program_of(interface).is_ok_and(|program| program != 0)
}

/// Whether a driver says that it can't do zero-copy AF_XDP. `false` also where it says nothing: kernels before 6.3
/// don't tell.
#[must_use]
pub fn lacks_zero_copy(interface: u32) -> bool {
    /// `NETDEV_XDP_ACT_XSK_ZEROCOPY` (include/uapi/linux/netdev.h).
    const XSK_ZEROCOPY: u64 = 1 << 3;
    // SAFETY: all fields are integers; the library fills them in.
    let mut answer: sys::bpf_xdp_query_opts = unsafe { std::mem::zeroed() };
    answer.sz = size_of::<sys::bpf_xdp_query_opts>();
    // SAFETY: the structure says its size and outlives the call.
    let asked = check(unsafe { sys::bpf_xdp_query(interface as i32, 0, &raw mut answer) });
    asked.is_ok() && answer.feature_flags != 0 && answer.feature_flags & XSK_ZEROCOPY == 0
}

/// Attaches a classifier to an interface that has none yet; it stays as long as the interface.
///
/// # Errors
/// The kernel's.
pub fn attach_classifier(program: BorrowedFd<'_>, interface: u32, direction: Direction) -> io::Result<()> {
    // libbpf refuses structures whose padding is not zero.
    // SAFETY: all fields are integers, for which zero is "not given".
    let mut hook: sys::bpf_tc_hook = unsafe { std::mem::zeroed() };
    hook.sz = size_of::<sys::bpf_tc_hook>();
    hook.ifindex = interface as i32;
    hook.attach_point = match direction {
        Direction::Ingress => sys::bpf_tc_attach_point_BPF_TC_INGRESS,
        Direction::Egress => sys::bpf_tc_attach_point_BPF_TC_EGRESS,
    };
    // SAFETY: the hook is initialised and outlives the call.
    match check(unsafe { sys::bpf_tc_hook_create(&raw mut hook) }) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(error),
        Err(_) | Ok(_) => {}
    }
    // SAFETY: all fields are integers, for which zero is "not given".
    let mut options: sys::bpf_tc_opts = unsafe { std::mem::zeroed() };
    options.sz = size_of::<sys::bpf_tc_opts>();
    options.prog_fd = program.as_raw_fd();
    options.handle = 1;
    options.priority = 1;
    // SAFETY: hook and options are initialised and outlive the call.
    check(unsafe { sys::bpf_tc_attach(&raw const hook, &raw mut options) }).map(|_| ())
}
