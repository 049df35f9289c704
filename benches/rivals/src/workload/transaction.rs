//! W16: a step that writes in its own transaction, beside the same insert in a plain one.

use std::time::Instant;

use sqlx::{Connection, PgConnection};

use super::check;
use crate::Result;
use crate::gauge::{self, percentile};
use crate::report::{Figures, line};
use crate::rival::{Rival, Site};

/// One run of serial steps, and as many plain transactions, in turns.
pub async fn beside_plain<R: Rival>(site: &Site) -> Result<String> {
    let size = site.size.unwrap_or(500);
    let stand = R::stand(site).await?;
    let site = Site { url: stand.url.clone(), in_flight: Some(1), ..site.clone() };
    let mut plain = PgConnection::connect(&site.url).await?;
    sqlx::query("CREATE TABLE public.entries (id bigserial PRIMARY KEY, number bigint NOT NULL)")
        .execute(&mut plain)
        .await?;
    let rival = R::open(&site).await?;
    check(rival.run_transactions(20).await?, 20)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        for number in 0..i64::from(size / 3) {
            let start = Instant::now();
            let mut transaction = plain.begin().await?;
            sqlx::query("INSERT INTO public.entries (number) VALUES ($1)")
                .bind(number)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            ours.push(start.elapsed());
        }
        gauge::start_stamping();
        check(rival.run_transactions(size / 3).await?, size / 3)?;
        theirs.extend(gauge::stop_stamping());
    }
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM public.entries").fetch_one(&mut plain).await?;
    let wanted = 20 + 6 * i64::from(size / 3);
    if rows != wanted {
        return Err(format!("there are {rows} rows, not {wanted}").into());
    }
    let (step, plain) = (percentile(&theirs, 0.5), percentile(&ours, 0.5));
    let figures = Figures::default()
        .with("p50_ms", step)
        .with("p99_ms", percentile(&theirs, 0.99))
        .with("plain_p50_ms", plain)
        .with("ratio", step / plain);
    Ok(line::<R>(&site, None, Some(size), figures))
}
