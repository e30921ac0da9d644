// How the kernel schedules a service that all clients of a machine go through.
//
// What is woken by a message preempts whoever runs, mostly who has sent it and is about to send the
// next one. A service that works in turns has then many short turns: one wakeup, one switch and one
// write of the link for each message. SCHED_BATCH lets who runs go on: its share of the CPU is the
// same, and a turn finds all that came meanwhile. Where a core is idle nothing changes.

const SCHED_OTHER = 0
const SCHED_BATCH = 3 // linux/sched.h

/** No wakeup of this thread preempts another; where somebody chose how it runs, that stays. */
export function runInTurns(): void {
  try {
    // Loaded here and not at the top: ffi compiles a stub per symbol.
    const { dlopen, ptr } = require('bun:ffi') as typeof import('bun:ffi')
    const { symbols } = dlopen('libc.so.6', {
      sched_getscheduler: { args: ['i32'], returns: 'i32' },
      sched_setscheduler: { args: ['i32', 'i32', 'ptr'], returns: 'i32' },
    } as const)
    if (symbols.sched_getscheduler(0) !== SCHED_OTHER) return
    const priority = new Int32Array(new ArrayBuffer(4))
    symbols.sched_setscheduler(0, SCHED_BATCH, ptr(priority.buffer))
  } catch {
    // No such policy on this platform: it runs as everything does.
  }
}
