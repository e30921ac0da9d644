import { decodeBackend, type BackendMessage } from './backend-decode.ts'
import { TransactionStatus } from './message-types.ts'
import type { MessageReader } from './message-reader.ts'

const STATUS_WORDS: Readonly<Record<TransactionStatus, string>> = {
  [TransactionStatus.Idle]: 'idle',
  [TransactionStatus.InTransaction]: 'transaction',
  [TransactionStatus.Failed]: 'failed',
}

/**
 * The current message of `reader`, a backend's, as one line that a test can compare: its name,
 * then what matters of it. 'ErrorResponse ERROR 22012', 'ReadyForQuery idle', 'DataRow 1,NULL'.
 * Left out is what differs from run to run (process ids, keys, salts) or is prose.
 */
export function describeBackend(reader: MessageReader): string {
  const message = decodeBackend(reader)
  const details = detailsOf(message)
  return details === '' ? message.name : `${message.name} ${details}`
}

function detailsOf(message: BackendMessage): string {
  switch (message.name) {
    case 'AuthenticationSASL':
      return message.mechanisms.join(',')
    case 'ParameterStatus':
      return `${message.parameter}=${message.value}`
    case 'NegotiateProtocolVersion':
      return [versionText(message.version), ...message.options].join(' ')
    case 'BackendKeyData':
      return `${message.key.length} bytes`
    case 'ReadyForQuery':
      return STATUS_WORDS[message.status]
    case 'ErrorResponse':
    case 'NoticeResponse':
      return `${message.fields.severityNonLocalized ?? message.fields.severity} ${message.fields.code}`
    case 'CommandComplete':
      return message.tag
    case 'NotificationResponse':
      return message.payload === '' ? message.channel : `${message.channel} ${message.payload}`
    default:
      return resultDetailsOf(message)
  }
}

function resultDetailsOf(message: BackendMessage): string {
  switch (message.name) {
    case 'RowDescription':
      return message.columns.map((column) => column.name).join(',')
    case 'DataRow':
      return message.values.map(valueText).join(',')
    case 'ParameterDescription':
      return message.types.join(',')
    case 'FunctionCallResponse':
      return valueText(message.value)
    case 'CopyData':
      return message.data.toString('utf8').trimEnd()
    default:
      return ''
  }
}

function versionText(version: number): string {
  return `${version >>> 16}.${version & 0xffff}`
}

function valueText(value: Buffer | null): string {
  return value === null ? 'NULL' : value.toString('utf8')
}
