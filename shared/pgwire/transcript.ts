import { decodeBackend, type BackendMessage } from './backend-decode.ts'
import type { ErrorFields } from './error-fields.ts'
import { TransactionStatus } from './message-types.ts'
import type { MessageReader } from './message-reader.ts'

const STATUS_WORDS: Readonly<Record<TransactionStatus, string>> = {
  [TransactionStatus.Idle]: 'idle',
  [TransactionStatus.InTransaction]: 'transaction',
  [TransactionStatus.Failed]: 'failed',
}

type Details = { [M in BackendMessage as M['name']]?: (message: M) => string }

/** What is told of a message beside its name. */
const DETAILS: Details = {
  AuthenticationSASL: (message) => message.mechanisms.join(','),
  BackendKeyData: (message) => `${message.key.length} bytes`,
  CommandComplete: (message) => message.tag,
  CopyData: (message) => message.data.toString('utf8').trimEnd(),
  DataRow: (message) => message.values.map(valueText).join(','),
  ErrorResponse: (message) => severityAndCode(message.fields),
  FunctionCallResponse: (message) => valueText(message.value),
  NegotiateProtocolVersion: (message) =>
    [versionText(message.version), ...message.options].join(' '),
  NoticeResponse: (message) => severityAndCode(message.fields),
  NotificationResponse: (message) => `${message.channel} ${message.payload}`.trimEnd(),
  ParameterDescription: (message) => message.types.join(','),
  ParameterStatus: (message) => `${message.parameter}=${message.value}`,
  ReadyForQuery: (message) => STATUS_WORDS[message.status],
  RowDescription: (message) => message.columns.map((column) => column.name).join(','),
}

/**
 * The current message of `reader`, a backend's, as one line that a test can compare: its name,
 * then what matters of it. 'ErrorResponse ERROR 22012', 'ReadyForQuery idle', 'DataRow 1,NULL'.
 * Left out is what differs from run to run (process ids, keys, salts) or is prose.
 */
export function describeBackend(reader: MessageReader): string {
  const message = decodeBackend(reader)
  const details = DETAILS[message.name] as ((message: BackendMessage) => string) | undefined
  const text = details?.(message) ?? ''
  return text === '' ? message.name : `${message.name} ${text}`
}

function severityAndCode(fields: ErrorFields): string {
  return `${fields.severityNonLocalized ?? fields.severity} ${fields.code}`
}

function versionText(version: number): string {
  return `${version >>> 16}.${version & 0xffff}`
}

function valueText(value: Buffer | null): string {
  return value === null ? 'NULL' : value.toString('utf8')
}
