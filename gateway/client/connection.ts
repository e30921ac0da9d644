// One accepted connection: what it wants, who it is, and from then on its session.
//
// Invariant: until the session begins, everything the client sends goes to the intake; from then on
// everything goes to the session. Nothing that came before TLS is read behind it.

import { PgError } from '../../shared/errors/pg-error.ts'
import type { Logger } from '../../shared/log/logger.ts'
import {
  backendKeyData,
  negotiateProtocolVersion,
  parameterStatus,
} from '../../shared/pgwire/backend.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import { ProtocolVersion, RequestCode } from '../../shared/pgwire/message-types.ts'
import {
  negotiate,
  TLS_HANDSHAKE,
  unsupportedProtocol,
  type CancelRequest,
  type StartupMessage,
} from '../../shared/pgwire/startup-packet.ts'
import { now, timer } from '../../shared/time/clock.ts'
import type { Expiring } from '../../shared/time/expiry.ts'
import { certificateOf, type CertifiedSocket } from '../auth/client-certificate.ts'
import type { ClientCertificate } from '../auth/client-certificate.ts'
import type { HbaRule, Newcomer } from '../auth/hba-rule.ts'
import { parseIp } from '../auth/ip-address.ts'
import { checkAdmission } from '../auth/login.ts'
import { noEntry, prove } from '../auth/prove.ts'
import { sessionSettings } from '../auth/startup-options.ts'
import { newCancelKey } from '../cancel/cancel-keys.ts'
import { CONSOLE_PARAMETERS } from '../console/console.ts'
import { CONSOLE_DATABASE } from '../console/console-database.ts'
import type { MessageReader } from '../../shared/pgwire/message-reader.ts'
import type { LoginRow } from '../poolers/logins.ts'
import type { ParameterVector } from '../poolers/parameter-vector.ts'
import { fatal } from '../session/session-errors.ts'
import type { ReplicationSession } from '../replication/replication-session.ts'
import { Session } from '../session/session.ts'
import { ready } from '../session/units.ts'
import type { ClientSession } from './client-session.ts'
import type { ClientSocket } from './client-socket.ts'
import type { ConnectionHost } from './connection-host.ts'
import { DirectTls } from './direct-tls.ts'
import { Intake } from './intake.ts'
import { protectionOf } from './protection.ts'
import { bunTlsOptions, type TlsIdentity } from './tls.ts'

const YES = Buffer.from('S')
const NO = Buffer.from('N')
const IDLE = 0x49
/** A client that was refused gets this long to read why. */
const LINGER_MS = 5000
/** All that a client ever has to say before it is let in is smaller. */
const STRANGER_BYTES_MAX = 256 * 1024

/** A client that proves itself later than this after it was asked about is tried anew. */
const KNOWN_MS_MAX = 1000

/** The raw socket of a connection, as Bun gives it. */
export type RawSocket = Bun.Socket<Connection>

/** What a client came in by. */
export type PortKind = { readonly unix: boolean; readonly reads: boolean }

export class Connection implements Expiring {
  session: ClientSession | undefined
  readonly peer: string
  readonly #host: ConnectionHost
  readonly #log: Logger
  readonly #unix: boolean
  /** It came in by the port for reads. */
  readonly #reads: boolean
  readonly #raw: RawSocket
  #intake = new Intake()
  #socket: ClientSocket
  #direct: DirectTls | undefined
  #tls: TlsIdentity | undefined
  #certificate: ClientCertificate | undefined
  #rule: HbaRule | undefined // that it was admitted by
  #place: Disposable | undefined // as a stranger
  #protection = ''
  /** What is said with the next words: a write costs more than all else of a login. */
  #unsent: Buffer | undefined
  #askedMs = 0 // when its pooler told of it
  #upgraded = false // the raw socket's bytes are ciphertext now
  #sslDone = false
  #gssDone = false
  #authenticating = false
  #authenticated = false
  #ended = false

  constructor(host: ConnectionHost, raw: RawSocket, { unix, reads }: PortKind) {
    this.#host = host
    this.#log = host.log
    this.#raw = raw
    this.#socket = raw
    this.#unix = unix
    this.#reads = reads
    const address = unix ? '' : raw.remoteAddress
    this.peer = unix ? 'unix' : `${address}:${raw.remotePort}`
    host.late.add(this)
    this.#place = host.stranger(address)
    if (this.#place !== undefined) void this.#run()
    else queueMicrotask(() => this.#refuse(tooMany()))
  }

  /** File descriptor, to look at a socket that is not read; -1 when there is none. */
  get fd(): number {
    return 'fd' in this.#raw ? (this.#raw.fd as number) : -1
  }

  /** `host:port` of this side; empty for a unix socket. */
  get local(): string {
    return this.#unix ? '' : `${this.#raw.localAddress}:${this.#raw.localPort}`
  }

  /** What secures it, as `TLSv1.3/CIPHER`; empty for nothing. */
  get tls(): string {
    return this.#protection
  }

  /** Who it is and the line of the rules that it was admitted by, for people. */
  admitted(): Record<string, unknown> | undefined {
    const { session } = this
    if (session === undefined) return undefined
    return { session: session.number, client: this.peer, line: this.#rule?.line }
  }

  // The socket's events ---------------------------------------------------------------------------

  /** Bytes of the raw socket. */
  rawData(chunk: Buffer): void {
    if (this.#upgraded) return // Bun shows the ciphertext here too
    if (this.#direct !== undefined) this.#direct.receive(chunk)
    else if (this.session !== undefined) this.#sessionData(this.session, chunk)
    else if (this.#startsTls(chunk)) this.#beginDirectTls(chunk)
    else this.#take(chunk)
  }

  /** Decrypted bytes. */
  tlsData(chunk: Buffer): void {
    if (this.session !== undefined) this.#sessionData(this.session, chunk)
    else this.#take(chunk)
  }

  /** Nobody fills our memory while a leader is awaited, say, who has not said who they are. */
  #take(chunk: Buffer): void {
    if (this.#ended) return
    this.#intake.feed(chunk, this.#authenticating)
    if (!this.#authenticated && this.#intake.bytes > STRANGER_BYTES_MAX) this.terminate()
  }

  #sessionData(session: ClientSession, chunk: Buffer): void {
    try {
      session.data(chunk)
    } catch (error) {
      session.crashed(error)
    }
  }

  drained(): void {
    this.#direct?.rawDrained()
    if (this.#direct === undefined) this.session?.drain()
  }

  /** The raw socket brings nothing more. */
  rawEnded(): void {
    if (this.#upgraded || this.#direct !== undefined) this.terminate()
    else this.inputEnded()
  }

  /** The client sends nothing more. */
  inputEnded(): void {
    if (this.session !== undefined) this.session.end()
    else this.terminate()
  }

  closed(): void {
    if (this.#ended) return
    this.#ended = true
    if (this.session === undefined) this.#host.late.delete(this)
    this.#place?.[Symbol.dispose]()
    this.#intake.close()
    this.session?.close()
    this.#host.closed(this)
  }

  /** Ends it now, for whatever reason. */
  terminate(): void {
    this.#socket.terminate()
    this.closed()
  }

  // Its life up to the session --------------------------------------------------------------------

  async #run(): Promise<void> {
    try {
      await this.#begin()
    } catch (error) {
      if (!this.#ended) this.#refuse(error)
    }
  }

  async #begin(): Promise<void> {
    for (;;) {
      const packet = await this.#intake.startupPacket()
      if (packet === undefined || this.#ended) return
      switch (packet.name) {
        case 'SSLRequest':
          this.#answerSslRequest()
          break
        case 'GSSENCRequest':
          if (this.#gssDone) throw unsupportedProtocol(RequestCode.GssEnc)
          this.#gssDone = true
          this.#write(NO)
          this.#refuseRest('GSSAPI encryption')
          break
        case 'CancelRequest':
          return await this.#cancel(packet)
        case 'OtherRequest':
          if (packet.code >>> 16 < 3) return this.#refuseOld(packet.code)
          throw unsupportedProtocol(packet.code)
        case 'StartupMessage':
          this.#authenticating = true
          this.#feedRest()
          return await this.#login(packet)
      }
    }
  }

  /** What came behind the startup packet belongs to what follows it. */
  #feedRest(): void {
    const rest = this.#intake.takeRest()
    if (rest.length > 0) this.#intake.feed(rest, true)
  }

  async #cancel(request: CancelRequest): Promise<void> {
    this.#host.late.delete(this)
    await this.#host.cancel(request)
    this.#socket.end()
  }

  async #login(startup: StartupMessage): Promise<void> {
    const { version, negotiation } = negotiate(startup)
    if (negotiation !== undefined) {
      this.#write(negotiateProtocolVersion(negotiation.version, negotiation.options))
    }
    const host = this.#host
    refuseUnbuilt(startup, this.#reads)
    if (startup.database === CONSOLE_DATABASE && startup.replication !== true) {
      return await this.#enterConsole(startup, version)
    }
    const options = sessionSettings(startup)
    const { user, database } = startup
    host.counters.logins++
    const replicates = startup.replication !== false
    const row = await this.#authenticate(startup, replicates ? undefined : options)
    // Only now: who does not know the password takes nobody's place.
    using admission = host.admit(user, database)
    checkAdmission(row, { user, database, replicates, sessions: admission.sessions })
    const session = this.#newSession(startup, version, options)
    const news = now() - this.#askedMs <= KNOWN_MS_MAX ? row.known : undefined
    const known = session instanceof Session ? session.enter(news) : undefined
    const vector = known ?? (await this.#open(session, replicates))
    if (this.#ended) return session.close()
    admission.keepFor(session)
    this.#welcome(session, vector.values)
  }

  async #enterConsole(startup: StartupMessage, version: number): Promise<void> {
    const { user } = startup
    const host = this.#host
    if (startup.replication !== false) {
      throw fatal('feature_not_supported', 'the admin console has nothing to replicate')
    }
    host.counters.logins++
    const role = await this.#authenticate(startup)
    // Who is trusted has proven nothing: there may be no such role. It has no database to check.
    checkAdmission(role, { user, database: '', replicates: true, sessions: 0 })
    if (this.#ended) return
    const session = host.console.open({
      socket: this.#socket,
      user,
      client: this.peer,
      scope: this.#unix ? 'own' : 'all',
      number: host.nextNumber(),
      cancelKey: newCancelKey(cancelKeyBytes(version)),
      role,
    })
    this.#welcome(session, CONSOLE_PARAMETERS)
  }

  #newSession(
    { user, database, replication }: StartupMessage,
    version: number,
    options: [string, string][],
  ): Session | ReplicationSession {
    const who = { user: shared(user), database: shared(database) }
    const request = { ...who, options, client: this.peer }
    const socket = this.#socket
    if (replication === false) {
      return this.#host.newSession({ socket, version, request: { ...request, reads: this.#reads } })
    }
    const kind = replication === true ? 'physical' : 'database'
    return this.#host.newReplication({
      socket,
      version,
      request: { ...request, replication: kind },
    })
  }

  /** Opens the session on the leader; a backend's refusal is passed on in its own bytes. */
  async #open(
    session: Session | ReplicationSession,
    replicates: boolean,
  ): Promise<ParameterVector> {
    try {
      if (replicates) return await session.open()
      return await this.#host.untilLed(() => {
        if (this.#ended) throw fatal('connection_failure', 'the client is gone')
        return session.open()
      })
    } catch (error) {
      session.close()
      throw error
    }
  }

  #welcome(session: ClientSession, values: ReadonlyMap<string, string>): void {
    this.#host.late.delete(this)
    const key = backendKeyData(session.number, session.cancelKey)
    this.#write(Buffer.concat([statusOf(values), key, ready(IDLE)]))
    const rest = this.#intake.takeMessages()
    this.#intake = SPENT // an idle client keeps as little memory as may be
    this.session = session
    session.begin(rest)
  }

  /** @throws PgError when no rule lets the client in, or it cannot prove who it is. */
  async #authenticate(
    startup: StartupMessage,
    options?: readonly (readonly [string, string])[],
  ): Promise<LoginRow> {
    const host = this.#host
    const { user, database } = startup
    const { rules } = host
    const { roles } = rules
    // Who is not let in anyway does not even wait for a leader.
    const early = roles === undefined ? this.#ruleFor(startup, []) : undefined
    const asked = this.#reads ? undefined : options
    const row = await host.loginRow({ user, database, roles, options: asked }, this.#reads)
    this.#askedMs = now()
    const rule = early ?? this.#ruleFor(startup, row.memberOf ?? [])
    const write = (bytes: Buffer): void => this.#write(bytes)
    const message = (): Promise<MessageReader> => this.#intake.message()
    const { mockSecret } = host
    const endPoint = this.#tls?.endPoint
    const certificate = this.#certificate
    const { maps } = rules
    try {
      const proof = { rule, row, user, mockSecret, endPoint, certificate, maps, write, message }
      this.#unsent = await prove(proof)
    } catch (error) {
      if (error instanceof PgError) host.counters.loginsFailed++
      throw error
    }
    this.#authenticated = true
    this.#rule = rule
    this.#place?.[Symbol.dispose]()
    this.#place = undefined
    return row
  }

  /** @throws PgError when there is none, or it says no. */
  #ruleFor({ user, database, replication }: StartupMessage, memberOf: readonly string[]): HbaRule {
    const address = this.#address()
    const who: Newcomer = {
      unix: this.#unix,
      tls: this.#tls !== undefined,
      get address() {
        return parseIp(address) // which most rules do not ask for
      },
      user,
      database,
      physical: replication === true,
    }
    const rule = this.#host.rules.find(who, memberOf)
    if (rule !== undefined && rule.method !== 'reject') return rule
    this.#host.counters.loginsFailed++
    throw noEntry(rule, who, address)
  }

  /** '' for a unix socket. */
  #address(): string {
    return this.#unix ? '' : this.peer.slice(0, this.peer.lastIndexOf(':'))
  }

  // TLS -------------------------------------------------------------------------------------------

  #answerSslRequest(): void {
    const identity = this.#host.tls()
    if (this.#sslDone || this.#tls !== undefined) throw unsupportedProtocol(RequestCode.Ssl)
    this.#sslDone = true
    if (identity === undefined || this.#unix) {
      this.#write(NO)
      return this.#refuseRest('SSL')
    }
    if (this.#intake.takeRest().length > 0) {
      // CVE-2021-23222: what an attacker slipped in before TLS must not be taken for the client's.
      this.#write(YES)
      return this.#endSoon()
    }
    this.#write(YES)
    this.#tls = identity
    this.#upgraded = true
    const tls = bunTlsOptions(identity)
    const [, secure] = this.#raw.upgradeTLS<Connection>({ data: this, tls, socket: TLS_HANDLERS })
    this.#socket = secure
  }

  /** What was sent ahead of the answer may have been slipped in by somebody else. */
  #refuseRest(request: string): void {
    if (this.#intake.takeRest().length === 0) return
    const message = `received unencrypted data after ${request} request`
    throw new PgError('protocol_violation', message, { severity: 'FATAL', detail: SLIPPED_IN })
  }

  /** TLS is up, and the client has shown its certificate or none. */
  secured(socket: CertifiedSocket): void {
    this.#protection = protectionOf(socket)
    const certificate = this.#tls?.ca === undefined ? undefined : certificateOf(socket)
    if (certificate === 'refused') this.terminate()
    else this.#certificate = certificate
  }

  #startsTls(chunk: Buffer): boolean {
    if (chunk[0] !== TLS_HANDSHAKE || this.#intake.bytes > 0 || this.#unix) return false
    return this.#host.tls() !== undefined
  }

  #beginDirectTls(chunk: Buffer): void {
    const identity = this.#host.tls() as TlsIdentity
    this.#tls = identity
    this.#direct = new DirectTls(this.#raw, identity, {
      secure: (socket) => this.secured(socket),
      data: (bytes) => this.tlsData(bytes),
      drain: () => this.session?.drain(),
      close: () => this.closed(),
    })
    this.#socket = this.#direct
    this.#direct.receive(chunk)
  }

  // Ends ------------------------------------------------------------------------------------------

  /** Protocol 2 knows no fields: a line of text ends with a NUL. */
  #refuseOld(code: number): void {
    this.#write(Buffer.from(`EFATAL:  ${unsupportedProtocol(code).message}\n\0`))
    this.#endSoon()
  }

  /** It is not in yet, and should be. */
  expire(): void {
    if (this.session !== undefined) return
    // Who has not even said what it wants is closed without a word, as by Postgres.
    if (!this.#authenticating) return this.terminate()
    this.#refuse(fatal('query_canceled', 'canceling authentication due to timeout'))
  }

  #refuse(error: unknown): void {
    if (error instanceof Buffer) this.#write(error)
    else if (error instanceof PgError) this.#refuseWith(error)
    else this.#onBug(error)
    this.#endSoon()
  }

  /** What was written goes out; then it is over, whatever the client does. */
  #endSoon(): void {
    this.#socket.end()
    if (!this.#ended) timer(LINGER_MS, () => this.#socket.terminate(), { ref: false })
    this.closed()
  }

  #refuseWith(error: PgError): void {
    this.#log.debug('client refused', { client: this.peer, error: error.message })
    // A length that cannot be is answered by nothing but the end, as by Postgres.
    if (error.message === 'invalid length of startup packet') return
    this.#write(fromPgError(error.severity === 'FATAL' ? error : asFatal(error)))
  }

  #onBug(error: unknown): void {
    this.#log.error('login failed by a bug', { client: this.peer, error })
    this.#write(fromPgError(fatal('internal_error', 'internal error of the gateway')))
  }

  /** Before the session nothing is large: what a fresh socket does not take is an attack. */
  #write(next: Buffer): void {
    const bytes = this.#unsent === undefined ? next : Buffer.concat([this.#unsent, next])
    this.#unsent = undefined
    const taken = this.#socket.write(bytes, 0, bytes.length)
    if (taken !== bytes.length && !this.#ended) this.terminate()
  }
}

/** Names that many sessions have; more are kept by each for itself. */
const NAMES_MAX = 1000
const names = new Map<string, string>()

/** One string for all sessions of a name. */
function shared(name: string): string {
  const known = names.get(name)
  if (known === undefined && names.size < NAMES_MAX) names.set(name, name)
  return known ?? name
}

const statuses = new WeakMap<ReadonlyMap<string, string>, Buffer>()

/** Values as ParameterStatus messages; those of a backend are made once. */
function statusOf(values: ReadonlyMap<string, string>): Buffer {
  let bytes = statuses.get(values)
  if (bytes === undefined) {
    bytes = Buffer.concat([...values].map(([name, value]) => parameterStatus(name, value)))
    statuses.set(values, bytes)
  }
  return bytes
}

/** The intake of clients that are in: it gets nothing any more. */
const SPENT = new Intake()

const TLS_HANDLERS: Bun.SocketHandler<Connection> = {
  handshake(socket, success) {
    if (success) socket.data.secured(socket)
    else socket.data.terminate()
  },
  data: (socket, chunk) => socket.data.tlsData(chunk),
  drain: (socket) => socket.data.drained(),
  close: (socket) => socket.data.closed(),
  end: (socket) => socket.data.inputEnded(),
  error: (socket) => socket.data.terminate(),
}

function tooMany(): PgError {
  return fatal('too_many_connections', 'too many clients that have not logged in yet')
}

function asFatal(error: PgError): PgError {
  return fatal(error.condition, error.message)
}

function refuseUnbuilt(startup: StartupMessage, reads: boolean): void {
  if (startup.replication !== false && reads) {
    throw fatal('feature_not_supported', 'replication connections are for the main port')
  }
}

const SLIPPED_IN =
  'This could be either a client-software bug or evidence of an attempted ' +
  'man-in-the-middle attack.'

/** Protocol versions before 3.2 have cancel keys of 4 bytes. */
export function cancelKeyBytes(version: number): number {
  return version >= ProtocolVersion.V3_2 ? 32 : 4
}
