// OpenBin's routes, as its own router sees them. Every answer says which route matched, what it demands, and
// the target that came.
'use strict';
const express = require('express');

const app = express();
app.disable('x-powered-by');

const says = (name, demands) => (req, res) => {
  res.status(200);
  res.set({ 'X-Route': name, 'X-Demands': demands, 'X-Target': encodeURI(req.originalUrl) });
  res.end();
};
const open = (name) => says(name, 'nothing');
const closed = (name) => says(name, 'credential');

app.get('/api/plans', open('plans'));
app.use((req, res, next) => (req.method === 'OPTIONS' ? open('preflight')(req, res) : next()));
app.get('/api/health', open('health'));

const auth = express.Router();
auth.get('/status', open('status'));
for (const name of ['demo-login', 'register', 'login', 'refresh', 'logout', 'forgot-password', 'reset-password', 'recover-deletion']) {
  auth.post(`/${name}`, open(name));
}
auth.get('/oauth/google', open('oauth-google'));
auth.get('/oauth/google/callback', open('oauth-google-callback'));
auth.get('/oauth/apple', open('oauth-apple'));
auth.post('/oauth/apple/callback', open('oauth-apple-callback'));
auth.get('/oauth/links', closed('oauth-links'));
auth.delete('/oauth/link/:provider', closed('oauth-link'));
auth.get('/me', closed('me'));
auth.get('/invite-preview', closed('invite-preview'));
auth.post('/logout-all', closed('logout-all'));
auth.put('/profile', closed('profile'));
auth.put('/active-location', closed('active-location'));
auth.put('/password', closed('password'));
auth.delete('/account', closed('account'));
app.use('/api/auth', auth);
const avatar = express.Router();
avatar.post('/avatar', closed('avatar'));
avatar.delete('/avatar', closed('avatar'));
avatar.get('/avatar/:userId', closed('avatar-of'));
app.use('/api/auth', avatar);

const every = (name) => {
  const router = express.Router();
  router.use(closed(name));
  return router;
};
for (const name of ['locations', 'bins', 'photos', 'tag-colors', 'print-settings', 'user-preferences', 'saved-views', 'scan-history', 'shopping-list', 'plan']) {
  app.use(`/api/${name}`, every(name));
}

const shared = express.Router();
shared.get('/:token', open('shared'));
shared.get('/:token/photos/:photoId/file', open('shared-file'));
shared.get('/:token/photos/:photoId/thumb', open('shared-thumb'));
app.use('/api/shared', shared);

const subscriptions = express.Router();
subscriptions.post('/callback', open('subscription-callback'));
app.use('/api/subscriptions', subscriptions);

// The router that demands a credential of whatever is left.
app.use('/api', every('rest'));

app.use((error, _req, res, _next) => {
  res.status(500).set({ 'X-Route': 'error', 'X-Demands': 'error' }).end();
});
app.all('*', open('page'));

const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
server.keepAliveTimeout = 60_000;
server.maxRequestsPerSocket = 0;
