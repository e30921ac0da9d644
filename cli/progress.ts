import { now } from '../shared/time/clock.ts'

/** Writes lines for a person to stderr, each with the seconds since the command began. */
export function openProgress(): (text: string) => void {
  const began = now()
  return (text) => {
    const seconds = ((now() - began) / 1000).toFixed(1).padStart(6)
    process.stderr.write(`${seconds}s  ${text}\n`)
  }
}
