import { PgError } from '../errors/pg-error.ts'

/** FATAL, as every error before a session stands. @param detail in Postgres's words. */
export function malformed(detail: string): PgError {
  return new PgError('protocol_violation', 'malformed SCRAM message', { severity: 'FATAL', detail })
}

/**
 * Reads the comma separated `a=value` attributes of a SCRAM message, in order.
 * Source: RFC 5802, section 5.1.
 */
export class AttributeReader {
  readonly #text: string
  #at: number

  constructor(text: string, start = 0) {
    this.#text = text
    this.#at = start
  }

  /** Where the next attribute starts. */
  get position(): number {
    return this.#at
  }

  /** Nothing is left. */
  get done(): boolean {
    return this.#at >= this.#text.length
  }

  /** The value of the next attribute, which must be `name`. @throws PgError protocol_violation. */
  expect(name: string): string {
    const attribute = this.next()
    if (attribute.name !== name) {
      throw malformed(`Expected attribute "${name}" but found "${attribute.name}".`)
    }
    return attribute.value
  }

  /** The next attribute. @throws PgError protocol_violation when there is none. */
  next(): { name: string; value: string } {
    const text = this.#text
    const name = text[this.#at] ?? ''
    if (!/^[A-Za-z]$/.test(name)) {
      throw malformed(`Attribute expected, but found ${shown(name)}.`)
    }
    if (text[this.#at + 1] !== '=') {
      throw malformed(`Expected character "=" for attribute "${name}".`)
    }
    const comma = text.indexOf(',', this.#at)
    const end = comma < 0 ? text.length : comma
    const value = text.slice(this.#at + 2, end)
    this.#at = comma < 0 ? end : end + 1
    return { name, value }
  }
}

/** Decodes standard base64 with padding; undefined when it is anything else. */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined // Buffer skips what it cannot read
}

/** Printable ASCII without comma, at least one: the only form a nonce may have. */
export function isNonce(text: string): boolean {
  return /^[\x21-\x2b\x2d-\x7e]+$/.test(text)
}

function shown(character: string): string {
  if (character === '') return 'the end of the message'
  return isNonce(character) ? `"${character}"` : `character code ${character.codePointAt(0)}`
}
