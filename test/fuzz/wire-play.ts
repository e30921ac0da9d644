import { query, sync } from '../../shared/pgwire/frontend.ts'
import { Frontend, type Address } from '../support/frontend.ts'

/** What a server did with a script: all it said, and how it ended. */
export type Outcome = {
  /** One line a message, errors with their text. */
  lines: string[]
  /** It `answered` the marker, `closed` before, or `hangs`: it did neither in time. */
  end: 'answered' | 'closed' | 'hangs'
}

/** Asked behind every script; no script asks for it. */
const MARKER = '424242'

/**
 * Plays `script` on a session of its own. Behind it come a Sync, a question, and the end of our
 * side: whoever still waits for the rest of a message, or for more copy data, gets an end instead,
 * so that no outcome has to be waited for.
 */
export async function play(address: Address, script: Buffer): Promise<Outcome> {
  await using frontend = await Frontend.connect(address)
  frontend.send(script, sync(), query(`select ${MARKER}`))
  frontend.end()
  const { lines, whole } = await frontend.rest()
  let errors = 0
  const told = lines.map((line) => {
    if (!line.startsWith('ErrorResponse')) return line
    const { message, position } = frontend.errors[errors++] ?? {}
    return [line, message, position].filter((part) => part !== undefined).join(' | ')
  })
  const answered = told.includes(`DataRow ${MARKER}`)
  return { lines: told, end: answered ? 'answered' : whole ? 'closed' : 'hangs' }
}
