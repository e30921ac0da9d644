// One batch of a client and its whole answer, message for message.
import type { BackendMessage } from '../../shared/pgwire/backend-decode.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { Frontend } from '../support/frontend.ts'

/** A row as it came. */
export type Row = readonly (Buffer | null)[]

/** All that a server said up to ReadyForQuery. */
export interface Answer {
  readonly rows: readonly Row[]
  readonly tags: readonly string[]
  readonly error: { readonly code: string; readonly message: string } | undefined
  readonly status: TransactionStatus
  /** PortalSuspended was among it. */
  readonly suspended: boolean
}

/** A notification that came with or between answers. */
export type Heard = { readonly channel: string; readonly payload: string }

/** The server ended the connection; `error` is what it said last. */
export class SessionEnded extends Error {
  override readonly name = 'SessionEnded'
  readonly code: string

  constructor(error: { code: string; message: string } | undefined) {
    super(error === undefined ? 'closed without a word' : `${error.code} ${error.message}`)
    this.code = error?.code ?? ''
  }
}

/**
 * Sends `parts` in one write and reads up to the next ReadyForQuery.
 * @throws SessionEnded
 */
export async function exchange(
  frontend: Frontend,
  parts: readonly Uint8Array[],
  heard: Heard[],
): Promise<Answer> {
  frontend.send(...parts)
  return await readAnswer(frontend, heard)
}

/** Reads up to the next ReadyForQuery. @throws SessionEnded */
export async function readAnswer(frontend: Frontend, heard: Heard[]): Promise<Answer> {
  const rows: Row[] = []
  const tags: string[] = []
  let error: Answer['error']
  let suspended = false
  for (;;) {
    const message = await next(frontend, error)
    if (message.name === 'DataRow') rows.push(message.values)
    else if (message.name === 'CommandComplete') tags.push(message.tag)
    else if (message.name === 'PortalSuspended') suspended = true
    else if (message.name === 'NotificationResponse') heard.push(message)
    else if (message.name === 'ErrorResponse') error ??= message.fields
    else if (message.name === 'ReadyForQuery') {
      return { rows, tags, error, status: message.status, suspended }
    }
  }
}

async function next(frontend: Frontend, error: Answer['error']): Promise<BackendMessage> {
  try {
    return await frontend.message()
  } catch (cause) {
    if (cause instanceof Error && cause.message.startsWith('the server closed')) {
      throw new SessionEnded(error)
    }
    throw cause
  }
}

/** Values of a row as text; `encoding` is what the client asked for. */
export function textOf(row: Row, encoding: BufferEncoding = 'utf8'): (string | null)[] {
  return row.map((value) => value?.toString(encoding) ?? null)
}
