import { dlopen, ptr } from 'bun:ffi'

/** linux/time.h */
const CLOCK_THREAD_CPUTIME_ID = 3

const timespec = new Int32Array(new ArrayBuffer(16))
const address = ptr(timespec.buffer)
const { symbols } = dlopen('libc.so.6', {
  clock_gettime: { args: ['i32', 'ptr'], returns: 'i32' },
} as const)

/**
 * Nanoseconds that this thread has run. Others that want its core do not count, nor do the
 * compiler's and the collector's own threads.
 */
export function threadNs(): number {
  symbols.clock_gettime(CLOCK_THREAD_CPUTIME_ID, address)
  return (timespec[0] as number) * 1e9 + (timespec[2] as number)
}
