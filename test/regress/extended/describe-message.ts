import type { BackendMessage } from '../../../shared/pgwire/backend-decode.ts'
import type { ErrorFields } from '../../../shared/pgwire/error-fields.ts'

/** Ids from here on are of objects that the suite made, and another run gives others. */
const FIRST_OWN_OID = 16_384

type Details = { [M in BackendMessage as M['name']]?: (message: M) => string }

const DETAILS: Details = {
  ErrorResponse: ({ fields }) => fieldsText(fields),
  NoticeResponse: ({ fields }) => fieldsText(fields),
  RowDescription: ({ columns }) =>
    columns
      .map(({ name, typeOid, typeModifier, format }) => {
        return `${name}:${oidText(typeOid)}:${typeModifier}:${format}`
      })
      .join(' '),
  DataRow: ({ values }) => values.map(valueText).join('|'),
  ParameterDescription: ({ types }) => types.map(oidText).join(' '),
  NotificationResponse: ({ channel, payload }) => `${channel} ${payload}`,
  CommandComplete: ({ tag }) => tag,
  ReadyForQuery: ({ status }) => String.fromCharCode(status),
  ParameterStatus: ({ parameter, value }) => `${parameter}=${value}`,
  CopyData: ({ data }) => data.toString('latin1'),
  CopyInResponse: ({ format, columns }) => `${format} ${columns.join(' ')}`,
  CopyOutResponse: ({ format, columns }) => `${format} ${columns.join(' ')}`,
}

/**
 * A message whole, as one line. Left out is only what every run of the suite has anew: process ids,
 * and object ids above those of the system.
 */
export function describeMessage(message: BackendMessage): string {
  const details = DETAILS[message.name] as ((message: BackendMessage) => string) | undefined
  return details === undefined ? message.name : `${message.name} ${details(message)}`
}

function fieldsText(fields: ErrorFields): string {
  const parts = Object.entries(fields).filter(([, value]) => value !== undefined && value !== '')
  return parts.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(' ')
}

function oidText(oid: number): string {
  return oid < FIRST_OWN_OID ? String(oid) : 'own'
}

function valueText(value: Buffer | null): string {
  return value === null ? 'NULL' : value.toString('latin1')
}
