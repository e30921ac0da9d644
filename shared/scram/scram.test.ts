import { describe, expect, test } from 'bun:test'
import { ScramClient } from './client.ts'
import { SCRAM_SHA_256, SCRAM_SHA_256_PLUS } from './keys.ts'
import { ScramServer, type ScramServerOptions } from './server.ts'
import { formatVerifier, isMd5Verifier, makeVerifier, parseVerifier } from './verifier.ts'

// RFC 7677, section 3
const RFC = {
  user: 'user',
  password: 'pencil',
  clientNonce: 'rOprNGfwEbeRWgbNEkqO',
  serverNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  salt: Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'),
  clientFirst: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  serverFirst:
    'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  clientFinal:
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
}
const mockSecret = Buffer.alloc(32, 7)
const binding = Buffer.from('hash of the certificate')
const verifier = makeVerifier('secret')

const bytes = (text: string) => Buffer.from(text)
const server = (options: Partial<ScramServerOptions> = {}) =>
  new ScramServer({ user: 'alice', verifier, mockSecret, ...options })

/** Runs a whole exchange; what the server says at its end. */
function exchange(client: ScramClient, peer: ScramServer) {
  const first = peer.serverFirst(client.mechanism, client.clientFirst())
  const result = peer.finish(client.clientFinal(first))
  if (result !== undefined) client.verify(result.serverFinal)
  return result
}

/** A client-first and client-final of any content, the proof right or not. */
function raw(peer: ScramServer, first: string, final: (nonce: string) => string) {
  const answer = peer.serverFirst(SCRAM_SHA_256, bytes(first)).toString()
  return peer.finish(bytes(final(/^r=([^,]*)/.exec(answer)![1]!)))
}

describe('RFC 7677', () => {
  test('the client says what the vector says', () => {
    const client = new ScramClient({
      password: RFC.password,
      user: RFC.user,
      nonce: RFC.clientNonce,
    })
    expect(client.clientFirst().toString()).toBe(RFC.clientFirst)
    expect(client.clientFinal(bytes(RFC.serverFirst)).toString()).toBe(RFC.clientFinal)
    expect(() => client.verify(bytes(RFC.serverFinal))).not.toThrow()
  })

  test('the server says what the vector says, and has the ClientKey', () => {
    const peer = server({
      verifier: makeVerifier(RFC.password, { salt: RFC.salt }),
      nonce: RFC.serverNonce,
    })
    const first = peer.serverFirst(SCRAM_SHA_256, bytes(RFC.clientFirst))
    expect(first.toString()).toBe(RFC.serverFirst)
    const result = peer.finish(bytes(RFC.clientFinal))
    expect(result?.serverFinal.toString()).toBe(RFC.serverFinal)
    expect(result?.clientKey.length).toBe(32)
  })
})

describe('both sides', () => {
  test('the right password is accepted, the wrong one is not', () => {
    expect(exchange(new ScramClient({ password: 'secret' }), server())).toBeDefined()
    expect(exchange(new ScramClient({ password: 'Secret' }), server())).toBeUndefined()
  })

  test('the recovered ClientKey logs in, and checks the server if it has the ServerKey', () => {
    const { clientKey } = exchange(new ScramClient({ password: 'secret' }), server())!
    expect(exchange(new ScramClient({ clientKey }), server())).toBeDefined()
    const { serverKey } = verifier
    expect(exchange(new ScramClient({ clientKey, serverKey }), server())).toBeDefined()
  })

  test('a ClientKey of another salt is refused', () => {
    const other = server({ verifier: makeVerifier('secret') })
    const { clientKey } = exchange(new ScramClient({ password: 'secret' }), other)!
    expect(exchange(new ScramClient({ clientKey }), server())).toBeUndefined()
  })

  test('a password outside ASCII is prepared the same on both sides', () => {
    const peer = server({ verifier: makeVerifier('\u00a0x\u2168') })
    expect(exchange(new ScramClient({ password: ' xIX' }), peer)).toBeDefined()
  })

  test('a channel is bound with -PLUS, and another certificate is noticed', () => {
    const peer = () => server({ channelBinding: binding })
    const mechanisms = peer().mechanisms
    const bound = { password: 'secret', mechanisms, channelBinding: binding }
    expect(new ScramClient(bound).mechanism).toBe(SCRAM_SHA_256_PLUS)
    expect(exchange(new ScramClient(bound), peer())).toBeDefined()
    const elsewhere = { ...bound, channelBinding: bytes('hash of another') }
    expect(() => exchange(new ScramClient(elsewhere), peer())).toThrow(
      'SCRAM channel binding check failed',
    )
  })

  test('a client that cannot bind goes on without', () => {
    const peer = server({ channelBinding: binding })
    const client = new ScramClient({ password: 'secret', mechanisms: peer.mechanisms })
    expect(client.mechanism).toBe(SCRAM_SHA_256)
    expect(exchange(client, peer)).toBeDefined()
  })

  test('a stripped -PLUS offer is noticed by the server', () => {
    const stripped = { mechanisms: [SCRAM_SHA_256], channelBinding: binding }
    const client = new ScramClient({ password: 'secret', ...stripped })
    expect(() => exchange(client, server({ channelBinding: binding }))).toThrow(
      expect.objectContaining({
        message: 'SCRAM channel binding negotiation error',
        sqlstate: '28000',
      }),
    )
  })

  test('a client that could bind does so without fuss where the server cannot', () => {
    const client = new ScramClient({ password: 'secret', channelBinding: binding })
    expect(client.clientFirst().toString()).toStartWith('y,,')
    expect(exchange(client, server())).toBeDefined()
  })
})

describe('unknown users', () => {
  const unknown = (user: string) => server({ user, verifier: undefined })
  const saltOf = (peer: ScramServer) =>
    /s=([^,]*)/.exec(peer.serverFirst(SCRAM_SHA_256, bytes('n,,n=,r=x')).toString())![1]

  test('get a salt that is always the same for a name, and fail like a wrong password', () => {
    expect(saltOf(unknown('eve'))).toBe(saltOf(unknown('eve')))
    expect(saltOf(unknown('eve'))).not.toBe(saltOf(unknown('mallory')))
    expect(Buffer.from(saltOf(unknown('eve'))!, 'base64').length).toBe(verifier.salt.length)
    expect(exchange(new ScramClient({ password: 'secret' }), unknown('eve'))).toBeUndefined()
  })
})

describe('the client', () => {
  const started = () => new ScramClient({ password: 'secret', nonce: 'abc' })

  test.each([
    'r=abcd,s=AAAA,i=0',
    'r=abcd,s=AAAA,i=1000001',
    'r=abcd,s=AAAA,i=4096x',
    'r=abcd,s=AAA,i=4096',
    'r=abcd,s=,i=4096',
    'r=abc,s=AAAA,i=4096',
    'r=abd1,s=AAAA,i=4096',
    'm=x,r=abcd,s=AAAA,i=4096',
    's=AAAA,r=abcd,i=4096',
    'r=abcd',
    '',
  ])('refuses server-first-message "%s"', (text) => {
    expect(() => started().clientFinal(bytes(text))).toThrow(
      expect.objectContaining({ sqlstate: '08P01' }),
    )
  })

  test('refuses a server that does not know the password', () => {
    const client = started()
    client.clientFinal(bytes('r=abcd,s=AAAA,i=1'))
    const wrong = Buffer.alloc(32).toString('base64')
    expect(() => client.verify(bytes(`v=${wrong}`))).toThrow('signature is wrong')
    expect(() => client.verify(bytes('v=AAAA'))).toThrow('malformed')
    expect(() => client.verify(bytes('e=invalid-proof'))).toThrow('invalid-proof')
  })

  test('refuses a success that comes before its own proof', () => {
    const early = bytes(`v=${Buffer.alloc(32).toString('base64')}`)
    expect(() => started().verify(early)).toThrow('malformed')
  })

  test('refuses a server without a known mechanism', () => {
    const mechanisms = ['OAUTHBEARER']
    expect(() => new ScramClient({ password: 'x', mechanisms })).toThrow('OAUTHBEARER')
    const plusOnly = [SCRAM_SHA_256_PLUS]
    expect(() => new ScramClient({ password: 'x', mechanisms: plusOnly })).toThrow()
  })
})

describe('the server', () => {
  const proof = Buffer.alloc(32).toString('base64')

  test.each([
    ['', 'malformed SCRAM message'],
    ['n', 'malformed SCRAM message'],
    ['n,', 'malformed SCRAM message'],
    ['n,,', 'malformed SCRAM message'],
    ['x,,n=,r=abc', 'malformed SCRAM message'],
    ['n,a=bob,n=,r=abc', 'client uses authorization identity, but it is not supported'],
    ['n,,m=x,n=,r=abc', 'client requires an unsupported SCRAM extension'],
    ['n,,r=abc', 'malformed SCRAM message'],
    ['n,,n=,r=', 'non-printable characters in SCRAM nonce'],
    ['n,,n=,r=a\u0007', 'non-printable characters in SCRAM nonce'],
    ['n,,n=,r=abc,?', 'malformed SCRAM message'],
    ['n,,n=,r=abc\0', 'malformed SCRAM message'],
    ['p=tls-server-end-point,,n=,r=abc', 'malformed SCRAM message'],
  ])('refuses client-first-message %j', (text, message) => {
    expect(() => server().serverFirst(SCRAM_SHA_256, bytes(text))).toThrow(message)
  })

  test('refuses a mechanism that it did not offer, and other bindings', () => {
    const first = bytes('p=tls-unique,,n=,r=abc')
    expect(() => server().serverFirst(SCRAM_SHA_256_PLUS, first)).toThrow('invalid SASL')
    expect(() => server().serverFirst('PLAIN', first)).toThrow('invalid SASL')
    const bound = server({ channelBinding: binding })
    expect(() => bound.serverFirst(SCRAM_SHA_256_PLUS, first)).toThrow(
      'unsupported SCRAM channel-binding type "tls-unique"',
    )
    const none = bytes('n,,n=,r=abc')
    expect(() => bound.serverFirst(SCRAM_SHA_256_PLUS, none)).toThrow('malformed')
  })

  test('refuses a nonce that is not its own', () => {
    for (const tampered of [(n: string) => `${n}x`, (n: string) => n.slice(1), () => 'abc']) {
      const final = (nonce: string) => `c=biws,r=${tampered(nonce)},p=${proof}`
      expect(() => raw(server(), 'n,,n=,r=abc', final)).toThrow('invalid SCRAM response')
    }
  })

  test('refuses a header other than the one sent first', () => {
    const final = (nonce: string) => `c=eSws,r=${nonce},p=${proof}`
    expect(() => raw(server(), 'n,,n=,r=abc', final)).toThrow('unexpected SCRAM channel-binding')
    expect(raw(server(), 'y,,n=,r=abc', final)).toBeUndefined()
  })

  test.each(['p=AAAA', `p=${proof},x=y`, `p=${proof.slice(1)}`, 'x=y', ''])(
    'refuses client-final-message that ends in "%s"',
    (end) => {
      const final = (nonce: string) => `c=biws,r=${nonce},${end}`
      expect(() => raw(server(), 'n,,n=,r=abc', final)).toThrow('malformed SCRAM message')
    },
  )

  test('takes extensions it does not know where they may stand', () => {
    const final = (nonce: string) => `c=biws,r=${nonce},x=y,z=,p=${proof}`
    expect(raw(server(), 'n,,n=bob,r=abc,x=y', final)).toBeUndefined()
  })
})

describe('verifiers', () => {
  test('are read and written in the form of pg_authid', () => {
    const text = formatVerifier(verifier)
    expect(text).toMatch(/^SCRAM-SHA-256\$4096:[^$]{24}\$[^:]{44}:[^:]{44}$/)
    expect(parseVerifier(text)).toEqual(verifier)
    expect(makeVerifier('secret', { salt: verifier.salt })).toEqual(verifier)
  })

  test('anything else is not one', () => {
    const text = formatVerifier(verifier)
    const md5 = `md5${'0'.repeat(32)}`
    const broken = ['', 'secret', md5, `${text}=`, text.slice(1), text.replace('4096', '0')]
    for (const bad of [...broken, text.replace('4096', '-1'), text.replaceAll(':', '')]) {
      expect(parseVerifier(bad)).toBeUndefined()
    }
    expect(isMd5Verifier(md5)).toBe(true)
    expect(isMd5Verifier(text)).toBe(false)
  })
})
