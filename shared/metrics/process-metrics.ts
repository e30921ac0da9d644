import { readdirSync, readFileSync } from 'node:fs'
import { interval, now, wallTimeMs, bootTimeMs } from '../time/clock.ts'
import type { MetricsRegistry } from './registry.ts'

const TICKS_PER_SECOND = 100 // USER_HZ, fixed in the kernel's interface
const LAG_EVERY_MS = 500

/** What every process tells about itself: memory, CPU, descriptors, event loop delay. */
export function processMetrics(metrics: MetricsRegistry): Disposable {
  const cpu = metrics.counter('process_cpu_seconds_total', 'CPU time, user and system.')
  const startedAt = startTimeSeconds()
  metrics.collect(() => (cpu.value = cpuSeconds()))
  metrics.gauge('process_resident_memory_bytes', 'Resident memory.', residentBytes)
  metrics.gauge('process_open_fds', 'Open file descriptors.', () => entries('/proc/self/fd'))
  metrics.gauge('process_start_time_seconds', 'Start, since the epoch.', () => startedAt)
  return eventLoopDelay(metrics)
}

/** How much later than asked a timer runs: what every client waits when the loop is busy. */
function eventLoopDelay(metrics: MetricsRegistry): Disposable {
  const delay = metrics.histogram('event_loop_delay_seconds', 'Lateness of a timer.')
  let due = now() + LAG_EVERY_MS
  const tick = (): void => {
    delay.observe(Math.max(0, now() - due))
    due = now() + LAG_EVERY_MS
  }
  return interval(LAG_EVERY_MS, tick, { ref: false })
}

/** Resident memory of this process in bytes. */
export function residentBytes(): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(read('/proc/self/status'))?.[1]
  return Number(kilobytes ?? Number.NaN) * 1024
}

function cpuSeconds(): number {
  const fields = statFields()
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND // utime, stime
}

function startTimeSeconds(): number {
  const bootedAt = wallTimeMs() - bootTimeMs()
  return bootedAt / 1000 + Number(statFields()[19]) / TICKS_PER_SECOND // starttime
}

/** /proc/self/stat after the command name, which may hold blanks: [0] is the state. */
function statFields(): string[] {
  const stat = read('/proc/self/stat')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return '' // no /proc: the metric shows NaN
  }
}

function entries(folder: string): number {
  try {
    return readdirSync(folder).length
  } catch {
    return Number.NaN
  }
}
