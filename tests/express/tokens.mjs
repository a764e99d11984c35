// What OpenBin's own verification says of tokens: one JSON array of texts in, one of verdicts out.
import { readFileSync } from 'node:fs';
import * as jose from 'jose';

const { secret, tokens } = JSON.parse(readFileSync(0, 'utf8'));
const key = new TextEncoder().encode(secret);
const verdicts = [];
for (const token of tokens) {
  try {
    const { payload } = await jose.jwtVerify(token, key, { algorithms: ['HS256'] });
    const id = payload.id ?? null;
    verdicts.push({ accepted: true, id: typeof id === 'string' ? id.replace(/\p{Surrogate}/gu, '\ufffd') : id });
  } catch (error) {
    verdicts.push({ accepted: false, why: String(error.code ?? error.message) });
  }
}
console.log(JSON.stringify(verdicts));
