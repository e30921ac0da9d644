// A client proves who it is, in the way that its rule asks for. Order, messages and SQLSTATEs are
// Postgres's (auth.c, ClientAuthentication).

import { PgError } from '../../shared/errors/pg-error.ts'
import {
  authenticationOk,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
} from '../../shared/pgwire/backend.ts'
import { decodeSaslInitialResponse } from '../../shared/pgwire/frontend-decode.ts'
import { Frontend } from '../../shared/pgwire/message-types.ts'
import type { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { ScramServer } from '../../shared/scram/server.ts'
import type { LoginRow } from '../poolers/logins.ts'
import type { ClientCertificate } from './client-certificate.ts'
import type { HbaRule, Newcomer } from './hba-rule.ts'
import type { IdentMaps } from './ident-map.ts'
import { passwordFailed, verifierOf } from './login.ts'

/** What a proof is made of. */
export type Proof = {
  readonly rule: HbaRule
  readonly row: LoginRow
  readonly user: string
  readonly mockSecret: Uint8Array
  /** What SCRAM-SHA-256-PLUS binds to; undefined without TLS. */
  readonly endPoint: Buffer | undefined
  readonly certificate: ClientCertificate | undefined
  readonly maps: IdentMaps
  write(bytes: Buffer): void
  /** The client's next message. */
  message(): Promise<MessageReader>
}

/**
 * Resolves to what tells the client that it is who it says: for the caller to send, with what it
 * says next. @throws PgError otherwise.
 */
export async function prove(proof: Proof): Promise<Buffer> {
  const { rule, user, certificate } = proof
  if (rule.clientCert !== 'no' && certificate === undefined) {
    throw denied('connection requires a valid client certificate')
  }
  const final = rule.method === 'scram-sha-256' ? await provePassword(proof) : Buffer.alloc(0)
  if (rule.clientCert === 'verify-full' && !isCertifiedAs(proof)) {
    if (rule.method !== 'cert') throw passwordFailed(user)
    throw denied(`certificate authentication failed for user "${user}"`)
  }
  return Buffer.concat([final, authenticationOk()])
}

/** Why a client is not let in that no rule is about, or one that says so. */
export function noEntry(rule: HbaRule | undefined, who: Newcomer, host: string): PgError {
  const from = `host "${who.unix ? '[local]' : host}", user "${who.user}"`
  const how = who.tls ? 'SSL encryption' : 'no encryption'
  const where = who.physical ? '' : `, database "${who.database}"`
  const what = who.physical ? 'replication connection' : 'connection'
  if (rule !== undefined) return denied(`rules_file rejects ${what} for ${from}${where}, ${how}`)
  const about = who.physical ? 'replication connection from ' : ''
  return denied(`no rules_file entry for ${about}${from}${where}, ${how}`)
}

function isCertifiedAs({ rule, user, certificate, maps }: Proof): boolean {
  const name = certificate?.commonName ?? ''
  if (name === '') return false
  return rule.map === undefined ? name === user : maps.allows(rule.map, name, user)
}

/** SCRAM; the last message of it, which says that we know the password too. */
async function provePassword(proof: Proof): Promise<Buffer> {
  const { row, user, mockSecret, endPoint: channelBinding } = proof
  const verifier = verifierOf(row, user)
  const scram = new ScramServer({ verifier, user, mockSecret, channelBinding })
  proof.write(authenticationSasl(scram.mechanisms))
  const initial = decodeSaslInitialResponse(await passwordMessage(proof))
  let response: Uint8Array | null = initial.response
  if (response === null) {
    proof.write(authenticationSaslContinue(Buffer.alloc(0)))
    response = (await passwordMessage(proof)).rest()
  }
  proof.write(authenticationSaslContinue(scram.serverFirst(initial.mechanism, response)))
  const success = scram.finish((await passwordMessage(proof)).rest())
  if (success === undefined) throw passwordFailed(user)
  return authenticationSaslFinal(success.serverFinal)
}

async function passwordMessage(proof: Proof): Promise<MessageReader> {
  const reader = await proof.message()
  if (reader.type === Frontend.PasswordMessage) return reader
  const message = `expected SASL response, got message type ${reader.type}`
  throw new PgError('protocol_violation', message, { severity: 'FATAL' })
}

function denied(message: string): PgError {
  return new PgError('invalid_authorization_specification', message, { severity: 'FATAL' })
}
