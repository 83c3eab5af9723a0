import { behaviour, hostBehaviour } from './behaviour.js';

behaviour('https');
behaviour('h2');
hostBehaviour('h2-compat');
hostBehaviour('h2-compat-http1');
