import pino from 'pino'
import { StderrSink } from './stderr-sink.ts'

/** Severities, least first. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
/** One of the severities. */
export type LogLevel = (typeof LOG_LEVELS)[number]

/** What a line carries beside its message, named in snake_case. An Error is written with stack. */
export type LogFields = Record<string, unknown>

/** Writes what happens, for people and machines. Messages are constant; what varies is a field. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** A logger that adds `fields` to every line; it follows the level of its root. */
  child(fields: LogFields): Logger
}

/** The logger of a process: children follow its level. */
export interface RootLogger extends Logger {
  setLevel(level: LogLevel): void
  /** Writes what stderr did not take before, as far as it takes it now. */
  flush(): void
}

/** Who logs, from which severity on, and where to (stderr unless a test says otherwise). */
export interface LoggerOptions {
  service: string
  id: string
  level: LogLevel
  sink?: { write(line: string): void; flush(): void }
}

// Last resort: a secret should not reach a log call, but a whole object may carry one along.
const SECRET_KEYS = ['password', 'token', 'secret', 'authorization', 'passphrase', 'private_key']

/** JSON lines: `time`, `level`, `service`, `id`, `message`, then the fields. */
export function createLogger(options: LoggerOptions): RootLogger {
  const { service, id, level, sink = new StderrSink() } = options
  const shared = { least: LOG_LEVELS.indexOf(level) }
  const lines = pino(
    {
      level: 'debug', // the level that counts is `shared`, so that children follow it
      base: { service, id },
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: writable },
      redact: {
        paths: SECRET_KEYS.flatMap((key) => [key, `*.${key}`]),
        censor: '<redacted>',
      },
    },
    sink,
  )
  const setLevel = (next: LogLevel): void => void (shared.least = LOG_LEVELS.indexOf(next))
  return Object.assign(new PinoLogger(lines, shared), { setLevel, flush: () => sink.flush() })
}

class PinoLogger implements Logger {
  readonly #lines: pino.Logger
  readonly #shared: { least: number }

  constructor(lines: pino.Logger, shared: { least: number }) {
    this.#lines = lines
    this.#shared = shared
  }

  debug(message: string, fields: LogFields = {}): void {
    if (this.#shared.least <= 0) this.#lines.debug(fields, message)
  }

  info(message: string, fields: LogFields = {}): void {
    if (this.#shared.least <= 1) this.#lines.info(fields, message)
  }

  warn(message: string, fields: LogFields = {}): void {
    if (this.#shared.least <= 2) this.#lines.warn(fields, message)
  }

  error(message: string, fields: LogFields = {}): void {
    this.#lines.error(fields, message)
  }

  child(fields: LogFields): Logger {
    return new PinoLogger(this.#lines.child(fields), this.#shared)
  }
}

/** Fields as JSON takes them: errors with stack and cause, bigints as text. */
function writable(fields: LogFields): LogFields {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, plain(value)]))
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (!(value instanceof Error)) return value
  const { name, message, stack, cause } = value
  const sqlstate = 'sqlstate' in value ? value.sqlstate : undefined
  const code = 'code' in value ? value.code : undefined
  return { name, message, sqlstate, code, stack, cause: cause === undefined ? cause : plain(cause) }
}

const ignore = (): void => {}

/** Writes nothing. For tests. */
export const nullLogger: Logger = {
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  child: () => nullLogger,
}
