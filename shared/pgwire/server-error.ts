import type { ErrorFields } from './error-fields.ts'

/**
 * An ErrorResponse that a client inside this system got from a Postgres. (One on its way to a
 * frontend is relayed as bytes and never becomes an object.) Branch on `sqlstate`.
 */
export class ServerError extends Error {
  override readonly name = 'ServerError'
  readonly sqlstate: string
  readonly fields: ErrorFields

  constructor(fields: ErrorFields) {
    super(fields.message)
    this.sqlstate = fields.code
    this.fields = fields
  }
}
