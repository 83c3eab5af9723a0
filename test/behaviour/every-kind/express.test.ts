import { behaviour } from '../behaviour.js';

behaviour('express-http');
behaviour('express-https');
behaviour('express4-http');
