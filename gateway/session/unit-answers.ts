// What the answer to a batch of the gateway's own has for the client: notifications. They come when
// the backend goes idle, whosever batch that ended.

import { Backend } from '../../shared/pgwire/message-types.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'

/** Postgres makes no larger ones. */
const MESSAGE_BYTES_MAX = 2 ** 30
const NONE = Buffer.alloc(0)

/** Finds the notifications in the answers to a session's units. */
export class UnitAnswers {
  #reader: MessageReader | undefined
  #batch = 0

  /** The NotificationResponses that bytes[start, end), more of the answer to `batch`, completes. */
  take(batch: number, bytes: Buffer, start: number, end: number): Buffer {
    if (this.#reader === undefined || batch !== this.#batch) {
      this.#reader = new MessageReader({ messageBytesMax: MESSAGE_BYTES_MAX })
      this.#batch = batch
    }
    const reader = this.#reader
    reader.feed(Buffer.from(bytes.subarray(start, end)))
    const found: Buffer[] = []
    for (let type = reader.next(); type !== undefined; type = reader.next()) {
      if (type === Backend.NotificationResponse) found.push(reader.message())
    }
    return found.length === 0 ? NONE : Buffer.concat(found)
  }
}
