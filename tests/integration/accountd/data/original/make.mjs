// Makes databases of the original system by its own library: node make.mjs FOLDER, where
// better-sqlite3-multiple-ciphers is installed (README.md). Its last lines are never run: the process
// kills itself, so that what it wrote last is in the write-ahead log alone.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const Database = createRequire(resolve('package.json'))('better-sqlite3-multiple-ciphers');
const [folder] = process.argv.slice(2);
const read = (name) => readFileSync(new URL(name, import.meta.url), 'utf8');
const hash = (digit) => createHash('sha256').update('rslive_v1_' + digit.repeat(48)).digest('hex');
const content = read('content.sql').replace('KEY_HASH', hash('0')).replace('EXPIRED_HASH', hash('1'));

function opened(name, key, ...pragmas) {
  const db = new Database(join(folder, name));
  for (const pragma of ["cipher='sqlcipher'", ...pragmas, `key="${key}"`]) db.pragma(pragma);
  return db;
}

for (const [name, key, ...pragmas] of [
  ['raw.db', `x'${'ab'.repeat(32)}'`, 'legacy=4'],
  ['without-legacy.db', "it's a passphrase"],
]) {
  const db = opened(name, key, ...pragmas);
  db.pragma('journal_mode = WAL');
  db.exec(read('schema.sql') + content);
  db.close();
}

// As OPERATIONS.md says.
const converted = opened('converted.db', "it's a passphrase");
converted.pragma('journal_mode = WAL');
converted.exec(read('schema.sql') + content);
converted.close();
const again = opened('converted.db', "it's a passphrase");
again.pragma('journal_mode = DELETE');
for (const pragma of ["cipher='sqlcipher'", 'legacy=4', `rekey="it's a passphrase"`]) again.pragma(pragma);
again.close();

const hot = opened('hot.db', "it's a passphrase", 'legacy=4');
hot.pragma('journal_mode = WAL');
hot.exec(read('schema.sql'));
hot.pragma('wal_checkpoint(TRUNCATE)');
hot.exec(content);
process.kill(process.pid, 'SIGKILL');
