//! Products of blocks in AMX tiles: sixteen rows and sixteen columns of sums in a register, 32 products deep a step.

use super::block::{Block, Step};
use std::arch::asm;
use std::sync::OnceLock;

/// What `ldtilecfg` reads: palette 1, every register sixteen rows of 64 bytes.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: Config = {
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    let mut i = 0;
    while i < 8 {
        row_bytes[i] = 64;
        rows[i] = 16;
        i += 1;
    }
    Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// Whether this processor has AMX for bf16 and the kernel lets this process use its registers, which is asked for once.
pub(super) fn available() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    *ALLOWED.get_or_init(|| detected() && allowed())
}

fn detected() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    if __cpuid(0).eax < 7 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    // bit 22: AMX-BF16, bit 24: AMX-TILE
    features >> 22 & 1 == 1 && features >> 24 & 1 == 1
}

/// Asks Linux for the state of the tiles: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`. It refuses where it has no
/// room for that state, and where it does not know the question.
#[cfg(target_os = "linux")]
fn allowed() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call reads two numbers and writes no memory of ours.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// Other systems are not asked.
#[cfg(not(target_os = "linux"))]
fn allowed() -> bool {
    false
}

/// Calls `f` on a thread whose tiles are set up, and empties them after.
///
/// # Safety
/// [`available`] must have said yes.
pub(super) unsafe fn with_tiles<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: the processor has tiles, as the caller knows; no code but this file's uses them.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, preserves_flags, readonly),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _);
    }
    let result = f();
    // SAFETY: as above.
    unsafe {
        asm!("tilerelease", options(nomem, nostack, preserves_flags),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _);
    }
    result
}

/// One block: loads or clears its sums, adds the products of every step, stores the sums.
macro_rules! tiles {
    ($block:ident, $steps:ident, clear [$($clear:literal),*], load [$($load:literal),*], step [$($step:literal),*], store [$($store:literal),*]) => {
        asm!(
            "test {t}, {t}",
            "jnz 2f",
            $($clear,)*
            "jmp 3f",
            "2:",
            "mov {t}, {cr}",
            "shl {t}, 4",
            "add {t}, {c}",
            $($load,)*
            "3:",
            "mov {t}, [{s}]",
            "add {t}, {a}",
            "mov {u}, [{s} + 8]",
            "add {u}, {b}",
            $($step,)*
            "add {s}, 16",
            "dec {n}",
            "jnz 3b",
            "mov {t}, {cr}",
            "shl {t}, 4",
            "add {t}, {c}",
            $($store,)*
            s = inout(reg) $steps.as_ptr() => _,
            n = inout(reg) $steps.len() => _,
            t = inout(reg) usize::from($block.accumulate) => _,
            u = out(reg) _,
            a = in(reg) $block.a,
            ar = in(reg) $block.a_row,
            at = in(reg) $block.a_tile,
            b = in(reg) $block.b,
            br = in(reg) $block.b_row,
            bt = in(reg) $block.b_tile,
            c = in(reg) $block.c,
            cr = in(reg) 4 * $block.c_row,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

/// See [`Block::run`].
///
/// # Safety
/// As there, within [`with_tiles`].
pub(super) unsafe fn run(block: &Block, steps: &[Step]) {
    // SAFETY: the caller answers for the operands; the registers are clobbers, and the loop runs at least once.
    unsafe {
        match (block.rows, block.cols) {
            (2, 2) => tiles!(block, steps,
                clear ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"],
                load ["tileloadd tmm0, [{c} + {cr}]", "tileloadd tmm1, [{c} + {cr} + 64]",
                      "tileloadd tmm2, [{t} + {cr}]", "tileloadd tmm3, [{t} + {cr} + 64]"],
                step ["tileloadd tmm4, [{t} + {ar}]", "tileloadd tmm6, [{u} + {br}]",
                      "add {t}, {at}", "add {u}, {bt}",
                      "tdpbf16ps tmm0, tmm4, tmm6",
                      "tileloadd tmm7, [{u} + {br}]",
                      "tdpbf16ps tmm1, tmm4, tmm7",
                      "tileloadd tmm5, [{t} + {ar}]",
                      "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7"],
                store ["tilestored [{c} + {cr}], tmm0", "tilestored [{c} + {cr} + 64], tmm1",
                       "tilestored [{t} + {cr}], tmm2", "tilestored [{t} + {cr} + 64], tmm3"]),
            (2, _) => tiles!(block, steps,
                clear ["tilezero tmm0", "tilezero tmm2"],
                load ["tileloadd tmm0, [{c} + {cr}]", "tileloadd tmm2, [{t} + {cr}]"],
                step ["tileloadd tmm4, [{t} + {ar}]", "tileloadd tmm6, [{u} + {br}]",
                      "add {t}, {at}", "add {u}, {bt}",
                      "tileloadd tmm5, [{t} + {ar}]",
                      "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm2, tmm5, tmm6"],
                store ["tilestored [{c} + {cr}], tmm0", "tilestored [{t} + {cr}], tmm2"]),
            (_, 2) => tiles!(block, steps,
                clear ["tilezero tmm0", "tilezero tmm1"],
                load ["tileloadd tmm0, [{c} + {cr}]", "tileloadd tmm1, [{c} + {cr} + 64]"],
                step ["tileloadd tmm4, [{t} + {ar}]", "tileloadd tmm6, [{u} + {br}]",
                      "add {t}, {at}", "add {u}, {bt}",
                      "tileloadd tmm7, [{u} + {br}]",
                      "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7"],
                store ["tilestored [{c} + {cr}], tmm0", "tilestored [{c} + {cr} + 64], tmm1"]),
            _ => tiles!(block, steps,
                clear ["tilezero tmm0"],
                load ["tileloadd tmm0, [{c} + {cr}]"],
                step ["tileloadd tmm4, [{t} + {ar}]", "tileloadd tmm6, [{u} + {br}]",
                      "add {t}, {at}", "add {u}, {bt}",
                      "tdpbf16ps tmm0, tmm4, tmm6"],
                store ["tilestored [{c} + {cr}], tmm0"]),
        }
    }
}
