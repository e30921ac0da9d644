// Tells a batch that does nothing but end a transaction: one that is gone already can be ended
// without a backend.

import { Frontend } from '../../shared/pgwire/message-types.ts'
import type { SessionStatements } from '../statements/session-statements.ts'

const HEADER_BYTES = 5
const EXIT = /^[\s;]*(?:(rollback|abort)|commit|end)(?:\s+(?:work|transaction))?[\s;]*$/i
/** A longer text is something else. */
const TEXT_BYTES_MAX = 256

export type Exit = 'rollback' | 'commit'

/** Tells a text that is nothing but the end of a transaction; undefined for all others. */
export function transactionExit(text: string): Exit | undefined {
  const match = EXIT.exec(text)
  if (match === null) return undefined
  return match[1] === undefined ? 'commit' : 'rollback'
}

/** The same of the extended messages in `bytes[start, end)`, all of which are whole. */
export function extendedExit(
  bytes: Buffer,
  { start, end }: { start: number; end: number },
  statements: SessionStatements | undefined,
): Exit | undefined {
  const parsed = new Map<string, string>()
  let exit: Exit | undefined
  let binds = 0
  for (let at = start; at < end; at += 1 + bytes.readInt32BE(at + 1)) {
    if (bytes[at] === Frontend.Parse) {
      const name = stringAt(bytes, at + HEADER_BYTES)
      parsed.set(name, stringAt(bytes, at + HEADER_BYTES + name.length + 1))
    } else if (bytes[at] === Frontend.Bind) {
      const portal = stringAt(bytes, at + HEADER_BYTES)
      const name = stringAt(bytes, at + HEADER_BYTES + portal.length + 1)
      exit = transactionExit(parsed.get(name) ?? textOf(statements, name))
      if (binds++ > 0) return undefined
    }
  }
  return exit
}

function textOf(statements: SessionStatements | undefined, name: string): string {
  if (name === '') {
    const { unnamed } = statements ?? {}
    return unnamed === undefined ? '' : stringAt(unnamed.parse, HEADER_BYTES + 1)
  }
  const statement = statements?.get(name)
  return statement === undefined ? '' : stringAt(statement.definition, statement.bodyStart)
}

function stringAt(bytes: Buffer, start: number): string {
  const end = bytes.indexOf(0, start)
  return end < 0 || end - start > TEXT_BYTES_MAX ? '' : bytes.toString('latin1', start, end)
}
