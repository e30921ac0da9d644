import { PgError } from '../errors/pg-error.ts'

/**
 * Reads a WAL position as Postgres writes it: '16/B374D848', two halves of up to 8 hex digits.
 * @throws PgError invalid_parameter_value when it is not one.
 */
export function parseLsn(text: string): bigint {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text)
  if (match === null) {
    throw new PgError('invalid_parameter_value', `invalid WAL position: "${text}"`)
  }
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)
}

/** A WAL position as Postgres writes it: '16/B374D848'. */
export function formatLsn(lsn: bigint): string {
  const upper = (lsn >> 32n) & 0xffff_ffffn
  const lower = lsn & 0xffff_ffffn
  return `${upper.toString(16).toUpperCase()}/${lower.toString(16).toUpperCase()}`
}
